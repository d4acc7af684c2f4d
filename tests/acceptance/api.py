"""Stembus' HTTP API as a stranger sees it: JSON, problem documents and event streams."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import msgspec

from shared.contracts.audio import AudioFormat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    #: A job, or any other answer, as it came.
    Json = dict[str, Any]

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
#: Members of a problem document.
PROBLEM: Final = {"type", "title", "status", "detail", "code", "hint", "retryable"}
#: Seconds that anything a test waits for may take: far more than it takes.
PATIENCE: Final = 90.0
#: Pause before a gateway that was away is asked again.
AGAIN_SECONDS: Final = 0.05


class Answer(NamedTuple):
    """What came of a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body as JSON."""
        found: Json = msgspec.json.decode(self.body)
        return found


class Event(NamedTuple):
    """A server-sent event."""

    id: int | None
    kind: str
    data: Json

    @property
    def status(self) -> str | None:
        """The job's status, if it is a snapshot."""
        return self.data.get("status")

    @property
    def ended(self) -> bool:
        """Whether it says that the job has ended."""
        return self.status in TERMINAL


class Api:
    """One server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def ask(self, method: str, path: str, **more: Any) -> Answer:  # noqa: ANN401 - aiohttp's own options
        """One request, whatever comes of it."""
        async with self.session.request(method, self.url + path, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def problem(self, method: str, path: str, **more: Any) -> Json:  # noqa: ANN401 - likewise
        """A request that is refused: its problem document."""
        return problem_of(await self.ask(method, path, **more))

    async def upload(self, path: Path, name: str | None = None) -> str:
        """Send a file; the upload's id."""
        query = {"filename": name or path.name}
        data = BytesIO(await asyncio.to_thread(path.read_bytes))
        answer = await self.ask("POST", "/v1/uploads", params=query, data=data)
        assert answer.status == 201, answer.body
        return str(answer.json["upload"])

    async def offered(self, model: str) -> None:
        """Wait until a model can be asked for: a separator has opened its file."""
        async with asyncio.timeout(PATIENCE):
            while True:
                models = (await self.ask("GET", "/v1/models")).json["models"]
                if any(one["name"] == model and one["ready"] and one["stems"] for one in models):
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    async def submit(self, source: str | Path, **options: object) -> Json:
        """Submit a URL, or a file after uploading it; the job.

        Made anew, unless ``reuse`` says otherwise: many tests have songs in common.
        """
        given = (
            {"url": source} if isinstance(source, str) else {"upload": await self.upload(source)}
        )
        order = {"source": given, "options": {"model": "dsp", "reuse": False, **options}}
        answer = await self.ask("POST", "/v1/jobs", json=order)
        assert answer.status == 201, answer.body
        assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
        return answer.json

    async def job(self, job_id: str) -> Json:
        """A job as it is now."""
        answer = await self.ask("GET", f"/v1/jobs/{job_id}")
        assert answer.status == 200, answer.body
        return answer.json

    async def order(self, job_id: str, verb: str) -> Json:
        """``cancel`` or ``retry`` a job; the job."""
        answer = await self.ask("POST", f"/v1/jobs/{job_id}/{verb}")
        assert answer.status == 200, answer.body
        return answer.json

    async def stem(self, job: Json, name: str) -> bytes:
        """A finished stem's bytes."""
        extension = AudioFormat(job["options"]["format"]).extension
        path = f"/v1/jobs/{job['id']}/stems/{name}.{extension}"
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.body

    async def events(
        self, path: str = "/v1/events", last: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """One connection's events, to its end."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        timeout = aiohttp.ClientTimeout(sock_read=PATIENCE)
        async with self.session.get(
            self.url + path, headers=headers, timeout=timeout, read_bufsize=1 << 20
        ) as answer:
            assert answer.status in {200, 204}, await answer.read()
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    number = int(fields["id"]) if "id" in fields else None
                    yield Event(number, fields["event"], msgspec.json.decode(fields["data"]))
                    fields = {}
                else:
                    fields = {}

    async def follow(self, job_id: str) -> AsyncGenerator[Event, None]:
        """A job's events until it has ended, as an EventSource gets them: it reconnects."""
        last: int | None = None
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with aclosing(self.events(f"/v1/jobs/{job_id}/events", last)) as events:
                        async for event in events:
                            last = event.id or last
                            yield event
                            if event.ended:
                                return
                except aiohttp.ClientError:
                    await asyncio.sleep(AGAIN_SECONDS)

    async def until(self, job_id: str, wanted: Callable[[Event], bool]) -> Event:
        """The first event of a job that is ``wanted``; the job must not end before."""
        async with aclosing(self.follow(job_id)) as events:
            async for event in events:
                if wanted(event):
                    return event
        raise AssertionError(f"it ended first: {await self.job(job_id)}")

    async def ended(self, job_id: str) -> Json:
        """The job once it has ended, in whatever way."""
        return (await self.until(job_id, lambda event: event.ended)).data

    async def finished(self, source: str | Path, **options: object) -> Json:
        """Submit a song and wait until it is done."""
        job = await self.ended((await self.submit(source, **options))["id"])
        assert job["status"] == "completed", job["error"]
        return job


def problem_of(answer: Answer) -> Json:
    """The problem document of an answer: every member there, and words for a person."""
    assert answer.status >= 400, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    problem = answer.json
    assert problem.keys() == PROBLEM
    assert problem["status"] == answer.status
    assert problem["title"]
    assert problem["hint"]
    return problem


def separating(event: Event) -> bool:
    """Whether the event says that some chunks are done and some are not."""
    parts: Json = event.data.get("separation") or {"chunks_done": 0, "chunks": 0}
    return bool(0 < parts["chunks_done"] < parts["chunks"])


def endings(job: Json) -> list[str]:
    """The terminal statuses in a job's timeline."""
    return [moment["status"] for moment in job["timeline"] if moment["status"] in TERMINAL]
