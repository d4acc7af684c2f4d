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

#: Events kept: some seconds of a busy server.
LENGTH: Final = 2048


class Frame(NamedTuple):
    """One event as it goes over the wire."""

    job_id: str
    #: The snapshot's revision; None for progress, which has no id.
    revision: int | None
    #: Whether it ends its job's own stream.
    last: bool
    text: bytes


class Ring:
    """A bounded log of frames with one writer and any number of readers."""

    def __init__(self, length: int = LENGTH) -> None:
        self._frames: deque[Frame] = deque(maxlen=length)
        self._end = 0
        self._news: asyncio.Future[None] | None = None

    @property
    def end(self) -> int:
        """The position after the newest frame."""
        return self._end

    def append(self, frame: Frame) -> None:
        """Add a frame and wake who waits."""
        self._frames.append(frame)
        self._end += 1
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
