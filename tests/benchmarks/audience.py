"""A client of the gateway: submits jobs, and sees on one live connection when they have ended."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

URL: Final = "http://example.org/a.mp3"
#: When a job is due that shall only be stored.
NEVER: Final = "2100-01-01T00:00:00Z"
#: Marks of an event that says that a job has ended, without reading the others.
_ENDS: Final = tuple(f'"status":"{end}"'.encode() for end in ("completed", "failed", "cancelled"))
_DATA: Final = b"data: "
_LOOK_SECONDS: Final = 0.05
_BUFFER: Final = 4 << 20


class _Id(msgspec.Struct):
    id: str


class _Revision(msgspec.Struct):
    revision: int


class _Job(msgspec.Struct):
    id: str
    status: str


class Audience:
    """Submits, and waits for ends."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._ends: dict[str, asyncio.Future[str]] = {}
        #: Submissions that were stored, but not decided on in time.
        self.late = 0
        #: One for each end that was seen.
        self._seen = asyncio.Semaphore(0)

    async def submit(self, source: dict[str, str] | None = None, **terms: object) -> str:
        """Submit a job; its id once the gateway has said 201, or 202 when that took too long."""
        # Each is a job of its own, although they ask for the same: that is what is measured.
        body = {"source": source or {"url": URL}, "options": {"reuse": False}, **terms}
        async with self._session.post(f"{self._url}/v1/jobs", json=body) as answer:
            said = await answer.read()
            assert answer.status in {201, 202}, said
            self.late += answer.status == 202
        return msgspec.json.decode(said, type=_Id).id

    async def begun(self) -> str:
        """Submit a job; its id once a worker has been told to take it."""
        job_id = await self.submit()
        while await self._status(job_id) != "processing":  # noqa: ASYNC110 - nobody else listens
            await asyncio.sleep(_LOOK_SECONDS)
        return job_id

    async def cancel(self, job_id: str) -> None:
        """Call a job off."""
        async with self._session.post(f"{self._url}/v1/jobs/{job_id}/cancel") as answer:
            assert answer.status == 200, await answer.read()

    async def store(self) -> str:
        """Submit a job that is not due for long: it is stored, and nothing follows."""
        return await self.submit(run_at=NEVER)

    async def ended(self, job_id: str) -> str:
        """The status that a job has ended with, once it has; only while ``watching``."""
        return await self._end_of(job_id)

    async def ends(self, count: int) -> None:
        """Wait until so many more jobs have ended, whosever they are."""
        for _ in range(count):
            await self._seen.acquire()

    async def life(self) -> None:
        """A job from its submission to its end, which must be a good one."""
        job_id = await self.submit()
        assert await self.ended(job_id) == "completed", job_id

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Listen to all jobs from now on."""
        async with self._session.get(f"{self._url}/v1/jobs?limit=1") as answer:
            revision = msgspec.json.decode(await answer.read(), type=_Revision).revision
        begun = asyncio.Event()
        listener = asyncio.create_task(self._listen(revision, begun))
        await begun.wait()
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _listen(self, revision: int, begun: asyncio.Event) -> None:
        address = f"{self._url}/v1/events?after={revision}"
        async with self._session.get(address, timeout=None, read_bufsize=_BUFFER) as answer:
            begun.set()
            async for line in answer.content:
                if line.startswith(_DATA) and any(end in line for end in _ENDS):
                    event = msgspec.json.decode(line[len(_DATA) :], type=_Job)
                    end = self._end_of(event.id)
                    if not end.done():
                        end.set_result(event.status)
                        self._seen.release()

    async def _status(self, job_id: str) -> str | None:
        async with self._session.get(f"{self._url}/v1/jobs/{job_id}") as answer:
            body = await answer.read()
            return msgspec.json.decode(body, type=_Job).status if answer.status == 200 else None

    def _end_of(self, job_id: str) -> asyncio.Future[str]:
        if job_id not in self._ends:
            self._ends[job_id] = asyncio.get_running_loop().create_future()
        return self._ends[job_id]
