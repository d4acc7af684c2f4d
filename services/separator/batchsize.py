"""How many windows a device is given at once: measured, lowered when it runs out, raised again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: The most windows in a batch: beyond it no device that we know of gains.
MOST: Final = 64
#: A larger batch has to be faster by this much, or the smaller one is kept.
GAIN: Final = 1.03
#: Batches that must go well before a size that once did not fit is tried again.
RECOVERY: Final = 50


def sizes() -> Iterable[int]:
    """Batch sizes that are worth measuring, the smallest first."""
    size = 1
    while size <= MOST:
        yield size
        size *= 2


def measured(run: Callable[[int], bool], clock: Callable[[], float]) -> int:
    """The best batch size: that with the most windows in a second, of those that fit.

    ``run`` computes a batch of that many windows and says whether it fitted.  Each size runs
    twice and the second time counts: the first one pays for plans and allocations.
    """
    best, speed = 1, 0.0
    for size in sizes():
        if not run(size):
            break
        started = clock()
        if not run(size):
            break
        reached = size / max(clock() - started, 1e-9)
        if reached < speed * GAIN:
            break
        best, speed = size, reached
    return best


class BatchSize:
    """One device's size for one model: AIMD, between 1 and what was measured."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._size = self._most
        self._well = 0

    @property
    def size(self) -> int:
        """Most windows of the next batch."""
        return self._size

    def fitted(self) -> None:
        """A batch went well: after many, one window more is tried where there once were more."""
        if self._size == self._most:
            return
        self._well += 1
        if self._well >= RECOVERY:
            self._well = 0
            self._size += 1

    def did_not_fit(self, windows: int) -> None:
        """A batch of that many windows found no room."""
        self._well = 0
        self._size = max(1, min(self._size, windows) // 2)


class SizeBook:
    """Measured sizes on disk, so that a device is measured once for each model."""

    def __init__(self, path: Path, device: str) -> None:
        self._path = path
        self._device = device

    def get(self, model: str) -> int | None:
        """What was measured; None where nothing was, or the book can't be read."""
        found = self._read().get(f"{self._device}/{model}")
        return found if found is not None and 1 <= found <= MOST else None

    def put(self, model: str, size: int) -> None:
        """Note it down; several engines may do so, the last one wins."""
        sizes = self._read() | {f"{self._device}/{model}": size}
        partial = self._path.with_suffix(".partial")
        try:
            partial.write_bytes(msgspec.json.encode(sizes))
            partial.replace(self._path)
        except OSError as exc:
            print(f"batch sizes can't be kept: {exc}", flush=True)  # noqa: T201 - a child's log is its output

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}
