"""A client of Stembus' HTTP API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from shared.contracts.codec import Decoder, UndecodableError
from shared.contracts.live import Progress
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

#: Pause before a connection that broke is tried again, and how often in a row.
RETRY_SECONDS: Final = 0.5
RETRIES: Final = 120
#: Seconds without a byte on a live connection (a comment comes every 15) before it is dead.
SILENCE_SECONDS: Final = 40.0
PIECE_BYTES: Final = 1 << 18
#: Longest event: a snapshot with its timeline.
EVENT_BYTES: Final = 1 << 20
OK: Final = 200
NO_CONTENT: Final = 204
BAD_REQUEST: Final = 400


class ProblemBody(Struct, frozen=True):
    """What the server says of a failure; whatever is missing has a default."""

    title: str = "The server answered with an error"
    detail: str = ""
    hint: str = ""
    code: str = ""


class ApiError(Exception):
    """The server refused; ``problem`` says why."""

    def __init__(self, problem: ProblemBody) -> None:
        super().__init__(problem.title)
        self.problem = problem


class UnreachableError(Exception):
    """No server answers at this address."""


class JobList(Struct, frozen=True):
    """A page of jobs."""

    jobs: list[Snapshot]
    revision: int


class _Uploaded(Struct, frozen=True):
    upload: str


class _Named(Struct, frozen=True):
    id: str


class Event(NamedTuple):
    """A live event: exactly one of the two."""

    job: Snapshot | None
    progress: Progress | None


class Client:
    """Talks to one server over one session."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server.rstrip("/")
        self._snapshots: Decoder[Snapshot] = Decoder(Snapshot)
        self._progress: Decoder[Progress] = Decoder(Progress)

    async def healthy(self) -> bool:
        """Whether somebody answers."""
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self._session.get(f"{self._server}/health", timeout=timeout) as answer:
                return answer.status == OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def upload(self, path: Path) -> str:
        """Send a file; the upload's id."""
        with path.open("rb") as file:
            url = f"{self._server}/v1/uploads?filename={quote(path.name, safe='')}"
            headers = {"Content-Type": "application/octet-stream"}
            body = await self._request("POST", url, data=file, headers=headers)
        return msgspec.json.decode(body, type=_Uploaded).upload

    async def submit(
        self, source: dict[str, str], model: str, stems: Sequence[str], audio_format: str
    ) -> str:
        """Submit a job; its id."""
        options = {"model": model, "stems": list(stems), "format": audio_format}
        body = await self._request(
            "POST", f"{self._server}/v1/jobs", json={"source": source, "options": options}
        )
        return msgspec.json.decode(body, type=_Named).id

    async def job(self, job_id: str) -> Snapshot:
        """One job."""
        return self._snapshots.decode(await self._request("GET", self._job_url(job_id)))

    async def jobs(self, limit: int) -> JobList:
        """The newest jobs."""
        body = await self._request("GET", f"{self._server}/v1/jobs?limit={limit}")
        return msgspec.json.decode(body, type=JobList)

    async def command(self, job_id: str, verb: str) -> Snapshot:
        """``cancel`` or ``retry`` a job; the job as it is then.

        A command that is stored but not carried out yet (202) shows in a later state.
        """
        await self._request("POST", f"{self._job_url(job_id)}/{verb}")
        return await self.job(job_id)

    async def download(self, job: Snapshot, stem: str, path: Path) -> None:
        """Save a stem; ``path`` has all of it or does not exist."""
        url = f"{self._job_url(job.id)}/stems/{quote(stem)}.{job.options.format}"
        part = path.with_name(path.name + ".part")
        for _ in range(RETRIES):
            try:
                async with self._session.get(url) as answer:
                    await _expect_ok(answer)
                    with part.open("wb") as file:
                        async for piece in answer.content.iter_chunked(PIECE_BYTES):
                            file.write(piece)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
            else:
                part.replace(path)
                return
        raise UnreachableError(self._server)

    async def events(self, job_id: str | None) -> AsyncIterator[Event]:
        """Live events of one job until it has ended, or of all jobs; reconnects by itself."""
        url = f"{self._job_url(job_id)}/events" if job_id else f"{self._server}/v1/events"
        known: str | None = None
        failures = 0
        while failures < RETRIES:
            headers = {"Last-Event-ID": known} if known else {}
            timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS)
            try:
                async with self._session.get(
                    url, headers=headers, timeout=timeout, read_bufsize=EVENT_BYTES
                ) as answer:
                    if answer.status == NO_CONTENT:
                        return
                    await _expect_ok(answer)
                    async for revision, kind, data in _parsed(answer.content):
                        failures = 0
                        known = revision or known
                        event = self._event(kind, data)
                        if event is not None:
                            yield event
            except (aiohttp.ClientError, TimeoutError):
                pass
            except ApiError as exc:
                if exc.problem.code not in {"job.not_found", "service.unavailable"}:
                    raise
            failures += 1
            await asyncio.sleep(RETRY_SECONDS)
        raise UnreachableError(self._server)

    def _event(self, kind: str, data: bytes) -> Event | None:
        try:
            if kind == "job":
                return Event(self._snapshots.decode(data), None)
            if kind == "progress":
                return Event(None, self._progress.decode(data))
        except UndecodableError:
            return None
        return None

    def _job_url(self, job_id: str) -> str:
        return f"{self._server}/v1/jobs/{quote(job_id, safe='')}"

    async def _request(self, method: str, url: str, **more: object) -> bytes:
        try:
            async with self._session.request(method, url, **more) as answer:  # type: ignore[arg-type]
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise UnreachableError(self._server) from exc
        if answer.status >= BAD_REQUEST:
            raise ApiError(_problem(body))
        return body


async def _expect_ok(answer: aiohttp.ClientResponse) -> None:
    if answer.status != OK:
        raise ApiError(_problem(await answer.read()))


def _problem(body: bytes) -> ProblemBody:
    try:
        return msgspec.json.decode(body, type=ProblemBody)
    except msgspec.MsgspecError:
        return ProblemBody()


async def _parsed(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str, bytes]]:
    """(id, event, data) of each event in a stream, as the HTML standard has them."""
    revision, kind, data = "", "", b""
    async for line in content:
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"id":
            revision = value.decode()
        elif field == b"event":
            kind = value.decode()
        elif field == b"data":
            data += value
        elif not line.strip():
            if data:
                yield revision, kind, data
            revision, kind, data = "", "", b""
