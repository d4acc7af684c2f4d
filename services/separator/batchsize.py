"""How many windows a device is given at once: measured, lowered when it runs out, raised again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: The most windows in a batch: beyond it no device that we know of gains.
MOST: Final = 64
#: A larger batch has to be faster by this much, or the smaller one is kept.
GAIN: Final = 1.03
#: Batches that must go well before one window more is tried; twice as many whenever that one
#: turns out not to fit, up to PATIENCE.
RECOVERY: Final = 50
PATIENCE: Final = 64 * RECOVERY


class Found(Struct, frozen=True):
    """What measuring a device with a model came to."""

    windows: int
    #: Whether it was room that ended it, and not speed: others may have had that room just then.
    limited: bool = False


def sizes() -> Iterable[int]:
    """Batch sizes that are worth measuring, the smallest first."""
    size = 1
    while size <= MOST:
        yield size
        size *= 2


def measured(run: Callable[[int], bool], clock: Callable[[], float]) -> Found:
    """The best batch size: that with the most windows in a second, of those that fit.

    ``run`` computes a batch of that many windows and says whether it fitted.  Each size runs
    twice and the second time counts: the first one pays for plans and allocations.
    """
    best, speed = 1, 0.0
    for size in sizes():
        if not run(size):
            return Found(best, limited=True)
        started = clock()
        if not run(size):
            return Found(best, limited=True)
        reached = size / max(clock() - started, 1e-9)
        if reached < speed * GAIN:
            break
        best, speed = size, reached
    return Found(best)


class BatchSize:
    """One device's size for one model: halved where there is no room, raised window by window.

    Up to what was measured to be fastest, or as far as there is room if that was what ended it.
    """

    def __init__(self, found: Found) -> None:
        self._size = max(1, found.windows)
        self._most = MOST if found.limited else self._size
        self._well = 0
        self._patience = RECOVERY
        #: Whether this size is a try.
        self._tried = False

    @property
    def size(self) -> int:
        """Most windows of the next batch."""
        return self._size

    def fitted(self, windows: int) -> None:
        """A batch went well: after many that were full, one window more is tried."""
        if windows < self._size:
            return
        self._tried = False
        if self._size == self._most:
            return
        self._well += 1
        if self._well >= self._patience:
            self._well = 0
            self._size += 1
            self._tried = True

    def did_not_fit(self, windows: int) -> None:
        """A batch of that many windows found no room."""
        self._well = 0
        if self._tried and windows == self._size:
            self._size -= 1
            self._patience = min(2 * self._patience, PATIENCE)
        else:
            self._size = max(1, min(self._size, windows) // 2)
        self._tried = False


class SizeBook:
    """Measured sizes on disk, so that a device is measured once for each model."""

    def __init__(self, path: Path, device: str) -> None:
        self._path = path
        self._device = device

    def get(self, model: str) -> Found | None:
        """What was measured; None where nothing was, or the book can't be read."""
        found = self._read().get(f"{self._device}/{model}")
        return found if found is not None and 1 <= found.windows <= MOST else None

    def put(self, model: str, found: Found) -> None:
        """Note it down; several engines may do so, the last one wins."""
        sizes = self._read() | {f"{self._device}/{model}": found}
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_bytes(msgspec.json.encode(sizes))
            partial.replace(self._path)
        except OSError as exc:
            print(f"batch sizes can't be kept: {exc}", flush=True)  # noqa: T201 - a child's log is its output

    def _read(self) -> dict[str, Found]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Found])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}
