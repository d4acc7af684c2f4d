"""The newest live events, once for all clients: each client only holds a position in it.

So a client costs the same however slow it is; one that has fallen out of the ring goes on
from the state instead (see ``sse``), which is all that the events were about.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Events kept: some seconds of a busy server; and their bytes, should they be long ones.
LENGTH: Final = 2048
MAX_BYTES: Final = 16 << 20


class Frame(NamedTuple):
    """One event as it goes over the wire."""

    #: The job that it is about; empty where it is about none.
    job_id: str
    #: The record's revision; None for what has no id and may be skipped.
    revision: int | None
    #: Whether it ends its job's own stream.
    last: bool
    text: bytes


class Ring:
    """A bounded log of frames with one writer and any number of readers."""

    def __init__(self, length: int = LENGTH, max_bytes: int = MAX_BYTES) -> None:
        self._frames: deque[Frame] = deque()
        self._length = length
        self._max_bytes = max_bytes
        self._bytes = 0
        self._end = 0
        self._news: asyncio.Future[None] | None = None
        self._era = 0

    @property
    def end(self) -> int:
        """The position after the newest frame."""
        return self._end

    @property
    def era(self) -> int:
        """Counts up when what was told before is not true any more: readers begin anew."""
        return self._era

    def append(self, frame: Frame) -> None:
        """Add a frame and wake who waits."""
        self._frames.append(frame)
        self._bytes += len(frame.text)
        while len(self._frames) > self._length or self._bytes > self._max_bytes:
            self._bytes -= len(self._frames.popleft().text)
        self._end += 1
        self.wake()

    def begin_anew(self) -> None:
        """End all readers' streams."""
        self._era += 1
        self.wake()

    def wake(self) -> None:
        """Wake who waits, with or without a new frame."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        self._news = None

    def since(self, position: int) -> Sequence[Frame] | None:
        """Frames from ``position`` on; None if some of them are gone."""
        behind = self._end - position
        if behind > len(self._frames):
            return None
        start = len(self._frames) - behind
        return [self._frames[index] for index in range(start, len(self._frames))]

    async def wait(self, position: int, seconds: float) -> bool:
        """Whether there is something after ``position``, within ``seconds``."""
        if self._end > position:
            return True
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._news}, timeout=seconds)
        return self._end > position
