"""The most memory that all processes of a contender held at one time."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.benchmarks.processes import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_SECONDS: Final = 0.25


class PeakMemory:
    """Looks at the descendants of this process, four times a second, while it is entered."""

    def __init__(self) -> None:
        self.pss = 0
        self.rss = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                held = list(_held())
            except OSError:  # one has ended while its children were asked for
                continue
            self.pss = max(self.pss, sum(pss for pss, _ in held))
            self.rss = max(self.rss, sum(rss for _, rss in held))


def _held() -> Iterator[tuple[int, int]]:
    """Bytes of each descendant: proportional, and resident."""
    me = os.getpid()
    for pid in family_of([me]) - {me}:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        found = dict(line.split(":", 1) for line in text.splitlines()[1:])
        yield _bytes(found.get("Pss", "0 kB")), _bytes(found.get("Rss", "0 kB"))


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024
