"""Server-sent events: state that changed after what the client knows, then what happens.

``id`` is a revision of the jobs' bucket, so any gateway can go on for any client.  Progress
between two snapshots has no id and may be skipped.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from services.gateway.core import whole_number
from services.gateway.writing import write
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from services.gateway.feed import Feed
    from services.gateway.projection import Mark, Projection
    from services.gateway.ring import Frame, Ring

    #: Changes after a revision, at most so many, lowest revision first.
    Changed = Callable[[int, int], list[Mark]]

#: A comment is sent to whoever was sent nothing for so long, so that both ends notice a dead line.
COMMENT_SECONDS: Final = 15.0
#: Changes looked up at once while catching up.
PAGE: Final = 50
#: Bytes handed to the connection at once, and held by it: what a stalled client costs.
WRITE_BYTES: Final = 16 << 10
#: Highest revision that a client may name.
MAX_REVISION: Final = 2**63 - 1
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


class Events:
    """The two event streams: of all jobs, and of one."""

    def __init__(
        self,
        *,
        feed: Feed,
        projection: Projection,
        ring: Ring,
        max_streams: int,
        stall_seconds: float,
    ) -> None:
        self._feed = feed
        self._projection = projection
        self._ring = ring
        self._max_streams = max_streams
        self._stall_seconds = stall_seconds
        self._open = 0
        self._closing = False

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.get("/v1/events", self.all_jobs),
            web.get("/v1/jobs/{job_id}/events", self.one_job),
        ]

    @property
    def open(self) -> int:
        """Streams open now."""
        return self._open

    def close(self) -> None:
        """End all streams; their clients will come back, to another gateway if there is one."""
        self._closing = True
        self._ring.wake()

    async def all_jobs(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/events``: what changed after the client's id, then everything that happens.

        Without an id it begins with every unfinished job.
        """
        after = _known(request)
        reader = _Reader(self._projection.changed_after, self._caught_up(after), None)
        if after is None:
            reader.first = self._projection.unfinished_after
        return await self._serve(request, reader)

    async def one_job(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/events``: the job's state, then what happens, until it has ended.

        A client that comes back knowing the end is told not to (204).
        """
        job_id = request.match_info["job_id"]
        row = self._projection.get(job_id)
        if row is None:
            raise TerminalError(Code.JOB_NOT_FOUND, job_id[:64])
        after = self._caught_up(_known(request))
        if row.snapshot.status.terminal and row.revision <= after:
            return web.Response(status=204)

        def changed(revision: int, _: int) -> list[Mark]:
            mark = self._projection.mark(job_id)
            return [mark] if mark and mark.revision > revision else []

        return await self._serve(request, _Reader(changed, after, job_id))

    def _caught_up(self, after: int | None) -> int:
        """A revision from the future is another bucket's: such a client knows nothing."""
        return after if after is not None and after <= self._projection.revision else 0

    async def _serve(self, request: web.Request, reader: _Reader) -> web.StreamResponse:
        if self._open >= self._max_streams or self._closing:
            raise RetryableError(Code.SERVICE_UNAVAILABLE, "too many live connections")
        response = web.StreamResponse(headers=_HEADERS)
        response.enable_chunked_encoding()
        self._open += 1
        try:
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(high=WRITE_BYTES)
            with suppress(ConnectionError):
                await self._stream(_Line(request, response, self._stall_seconds), reader)
        finally:
            self._open -= 1
        return response

    async def _stream(self, line: _Line, reader: _Reader) -> None:
        await line.write(b"retry: 1000\n\n")
        era, position, revision = self._ring.era, self._ring.end, self._projection.revision
        if reader.first is None:
            await self._catch_up(line, reader, reader.changed)
        else:
            await self._catch_up(line, reader, _until(revision, reader.first))
        reader.cursor = max(reader.cursor, revision)
        while not (self._is_over(era) or reader.ended):
            # What happens to other jobs is nothing that this client hears.
            if line.silent >= COMMENT_SECONDS:
                await line.write(b": still here\n\n")
            if not await self._ring.wait(position, COMMENT_SECONDS - line.silent):
                continue
            frames = self._ring.since(position)
            position = self._ring.end
            if frames is None:  # too slow for the ring: go on from the state
                await self._catch_up(line, reader, reader.changed)
            else:
                await _send(line, reader.wanted(frames))

    def _is_over(self, era: int) -> bool:
        return self._closing or self._ring.era != era

    async def _catch_up(self, line: _Line, reader: _Reader, changed: Changed) -> None:
        while marks := changed(reader.cursor, PAGE):
            await _send(line, self._frames(reader, marks))
            if len(marks) < PAGE:
                return

    def _frames(self, reader: _Reader, marks: Sequence[Mark]) -> Iterator[Frame]:
        """One after the other: what is not written yet does not exist yet."""
        for mark in marks:
            frame = self._feed.frame(mark)
            if frame is not None:
                yield from reader.wanted([frame])
            # If it has changed again since, that comes later, with a higher revision.
            reader.cursor = max(reader.cursor, mark.revision)


class _Line:
    """The connection to one client."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, stall_seconds: float
    ) -> None:
        self._request = request
        self._response = response
        self._stall_seconds = stall_seconds
        self._clock = asyncio.get_running_loop().time
        self._written = self._clock()

    @property
    def silent(self) -> float:
        """Seconds since it was told something."""
        return self._clock() - self._written

    async def write(self, text: bytes) -> None:
        """Tell it."""
        await write(self._request, self._response, text, self._stall_seconds)
        self._written = self._clock()


class _Reader:
    """What one client knows and wants."""

    def __init__(self, changed: Changed, cursor: int, job_id: str | None) -> None:
        #: Reads what it has missed, whenever that is.
        self.changed = changed
        #: Reads what it is to be told first, where that is something else.
        self.first: Changed | None = None
        #: The newest revision it was sent.
        self.cursor = cursor
        #: Its one job has ended, and it was told.
        self.ended = False
        self._job_id = job_id

    def wanted(self, frames: Sequence[Frame]) -> list[Frame]:
        """Those of ``frames`` that it wants and has not been sent; it counts as sent now."""
        chosen: list[Frame] = []
        for frame in frames:
            if self._job_id is not None and frame.job_id != self._job_id:
                continue
            if frame.revision is not None:
                if frame.revision <= self.cursor:
                    continue
                self.cursor = frame.revision
                self.ended = self._job_id is not None and frame.last
            chosen.append(frame)
        return chosen


async def _send(line: _Line, frames: Iterable[Frame]) -> None:
    held = bytearray()
    for frame in frames:
        held += frame.text
        while len(held) >= WRITE_BYTES:
            await line.write(bytes(held[:WRITE_BYTES]))
            del held[:WRITE_BYTES]
    if held:
        await line.write(bytes(held))


def _until(last: int, changed: Changed) -> Changed:
    """The same, but not what comes after revision ``last``: that comes through the ring.

    Of what ends meanwhile, ``changed`` may not tell; the cursor must not have passed it.
    """
    return lambda revision, limit: [row for row in changed(revision, limit) if row.revision <= last]


def _known(request: web.Request) -> int | None:
    """The revision that the client has, by EventSource's header or the ``after`` parameter."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after")
    return whole_number("Last-Event-ID", text, 0, MAX_REVISION) if text else None
