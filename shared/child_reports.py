"""What comes out of a child: one reader takes each frame to the request that it belongs to."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final

from shared.child_wire import DONE, HEADER, PROBLEM, REPORT, FrameError, opened

if TYPE_CHECKING:
    from collections.abc import Callable

#: Frames of one request that wait for whoever asked; then the reader waits, the pipe fills and
#: the child's report blocks.  Held up rather than dropped or killed: a report may be the one
#: that matters, and a burst of them (a playlist's entries) is no fault.  The other requests of
#: the child are held up with it, at most until one of them finds the silence too long.
FRAMES_WAITING: Final = 64
_KINDS: Final = frozenset({REPORT, PROBLEM, DONE})


class Asked:
    """One request under way: the frames that came for it, and whether it has ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: Set when nothing more will come: it is done, it has failed, or the child is gone.
        self.over = asyncio.Event()
        self._frames: asyncio.Queue[tuple[bytes, bytes] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(FRAMES_WAITING)
        self._left = False

    @property
    def waiting(self) -> int:
        """How many frames have come and were not taken."""
        return self._frames.qsize()

    async def next(self) -> tuple[bytes, bytes] | None:
        """Kind and body of the next frame; None when the child is gone."""
        taken = await self._frames.get()
        self._room.release()
        return taken

    async def put(self, kind: bytes, body: bytes) -> None:
        """Keep a frame for ``next``; waits for room."""
        if kind != REPORT:
            self.over.set()
        if self._left:
            return
        await self._room.acquire()
        self._frames.put_nowait((kind, body))

    def end(self) -> None:
        """The child is gone: after what has come, ``next`` gives None."""
        self.over.set()
        self._frames.put_nowait(None)

    def leave(self) -> None:
        """Nobody listens any more: frames are dropped from here on, and hold nobody up."""
        self._left = True
        self._room.release()


class Reports:
    """The requests under way in a child, and the reader of its frames."""

    def __init__(self, stream: asyncio.StreamReader, *, broken: Callable[[str], None]) -> None:
        """``broken`` is called, with what is wrong, when a frame is none."""
        self._stream = stream
        self._broken = broken
        self._numbers = itertools.count(1)
        self._asked: dict[int, Asked] = {}
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._end())

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self._reader.done()

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._asked)

    def open(self) -> Asked:
        """A new request's place; numbers are never used twice."""
        asked = Asked(next(self._numbers))
        self._asked[asked.number] = asked
        return asked

    def close(self, asked: Asked) -> None:
        """Forget a request: frames that still come for it are dropped."""
        self._asked.pop(asked.number, None)

    def stop(self) -> None:
        """The child is gone: every request under way has ended."""
        self._reader.cancel()
        self._end()

    def _end(self) -> None:
        for asked in self._asked.values():
            asked.end()

    async def _read(self) -> None:
        try:
            while True:
                header = await self._stream.readexactly(HEADER.size)
                kind, number, length = opened(header, _KINDS)
                body = await self._stream.readexactly(length)
                if number in self._asked:
                    await self._asked[number].put(kind, body)
        except FrameError as exc:
            self._broken(str(exc))
        except (asyncio.IncompleteReadError, OSError):
            return
