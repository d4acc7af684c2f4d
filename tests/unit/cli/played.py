"""A gateway that is played: real HTTP, and answers that a test has laid out."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec.structs import replace
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.answers import BatchView
from shared.contracts.batch import BatchStatus
from shared.contracts.job import Job, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source
from shared.contracts.snapshot import Snapshot, snapshot
from shared.errors import Code, TerminalError
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An answer that never comes: the connection breaks instead.
LOST: Final = None


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it has said for programs."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


class Answer(NamedTuple):
    """What the gateway says to one request."""

    status: int
    body: bytes
    headers: dict[str, str]


def says(body: object = None, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    return Answer(
        status,
        b"" if body is None else msgspec.json.encode(body),
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def refuses(code: Code, status: int, detail: str = "", **headers: str) -> Answer:
    """A problem document."""
    problem = Problem.of(TerminalError(code, detail))
    return says({**msgspec.to_builtins(problem), "status": status}, status, **headers)


def streams(*events: tuple[str, object]) -> Answer:
    """An event stream, which ends after these."""
    texts = [
        b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), msgspec.json.encode(data))
        for number, (kind, data) in enumerate(events, 1)
    ]
    text = b"retry: 1000\n\n: still here\n\n" + b"".join(texts)
    return Answer(200, text, {"Content-Type": "text/event-stream"})


class Gateway:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[Answer | None]] = {}

    def on(self, method: str, path: str, *answers: Answer | None) -> None:
        """What to say to that, one after the other; the last one again and again."""
        self._answers[method, path] = list(answers)

    def requests(self, method: str, path: str) -> list[Asked]:
        """What was asked there."""
        return [one for one in self.asked if (one.method, one.path) == (method, path)]

    def run(self, *words: str, stdin: str = "") -> Said:
        """``stembus words…`` with this server."""
        result = CliRunner().invoke(app, [*words, "--server", self.url], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        asked = Asked(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            await request.read(),
        )
        self.asked.append(asked)
        answers = self._answers.get((asked.method, asked.path))
        if answers is None:
            found: Answer | None = refuses(Code.JOB_NOT_FOUND, 404)
        else:
            found = answers.pop(0) if len(answers) > 1 else answers[0]
        if found is LOST:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.Response(status=found.status, body=found.body, headers=found.headers)


@contextmanager
def played() -> Iterator[Gateway]:
    """The gateway, in a thread of its own: the commands bring their own loop."""
    gateway = Gateway()
    loop = asyncio.new_event_loop()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    loop.run_until_complete(start())
    host, port = runner.addresses[0][:2]
    gateway.url = f"http://{host}:{port}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield gateway
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def job(name: str = "j1", status: Status = Status.PENDING, **more: Any) -> Snapshot:  # noqa: ANN401 - whatever a snapshot has
    """A job as a gateway shows it."""
    record = Job(
        id=name,
        source=Source(url="https://example.org/a.mp3"),
        options=Options(),
        status=status,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(snapshot(record), **more)


def batch(name: str = "b1", **more: Any) -> BatchView:  # noqa: ANN401 - likewise
    """A batch of two as a gateway shows it."""
    plain = BatchView(
        id=name,
        status=BatchStatus.EXPANDED,
        options=Options(),
        owner="",
        created_at=NOW,
        updated_at=NOW,
        playlist=None,
        title=None,
        jobs=(f"{name}-0", f"{name}-1"),
        state="processing",
        counts={"pending": 2},
    )
    return replace(plain, **more)
