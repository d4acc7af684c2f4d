"""Failures over HTTP, on a real server: one answer each, and never a second one inside a first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer

from services.gateway import guard, problems
from services.gateway.writing import write
from shared.contracts.problem import Problem
from shared.errors import CATALOGUE, Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUIET = structlog.wrap_logger(
    structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger("critical")
)
Client = TestClient[web.Request, web.Application]


#: Set when nobody takes what is poured any more.
POURED = web.AppKey("poured", asyncio.Event)


async def refuse(request: web.Request) -> web.Response:
    raise TerminalError(Code(request.match_info["code"]), "this time")


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000000"})
    await response.prepare(request)
    await response.write(b"A" * 1000)
    raise RetryableError(Code.STORAGE_UNAVAILABLE, "gone")


async def pour(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await write(request, response, bytes(100_000), 10.0)
    finally:
        request.app[POURED].set()


async def crash(_: web.Request) -> web.Response:
    raise LookupError("a bug")


@pytest.fixture
def app() -> web.Application:
    app = web.Application(
        middlewares=[problems.middleware(QUIET), guard.middleware(("127.0.0.1", "::1"))]
    )
    app[POURED] = asyncio.Event()
    app.on_response_prepare.append(guard.add_headers)
    app.add_routes(
        [
            web.get("/refuse/{code}", refuse),
            web.get("/break", break_off),
            web.get("/crash", crash),
            web.get("/pour", pour),
            web.post("/change", refuse),
        ]
    )
    return app


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def port(app: web.Application) -> AsyncIterator[int]:
    """Of a server that does not cancel those whose client is gone: a TestServer does."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(("code", "status"), problems.STATUS.items())
async def test_each_code_has_its_status_and_says_everything(
    client: Client, code: Code, status: int
) -> None:
    async with client.get(f"/refuse/{code.value}") as answer:
        body = await answer.json(content_type="application/problem+json")
    assert (answer.status, body["status"], body["code"]) == (status, status, code.value)
    assert (body["title"], body["hint"]) == CATALOGUE[code]
    assert body["detail"] == "this time"


@pytest.mark.parametrize(
    ("code", "after", "header"),
    [
        (Code.QUEUE_FULL, 0.2, "1"),
        (Code.QUEUE_FULL, 41.2, "42"),
        (Code.QUEUE_OWNER_FULL, 0.0, "1"),
        (Code.QUEUE_OWNER_FULL, None, "5"),
        (Code.SERVICE_UNAVAILABLE, None, "5"),
        (Code.STORAGE_UNAVAILABLE, 7.0, "7"),
        (Code.STORAGE_LOW, 7.0, None),
        (Code.JOB_EXISTS, 7.0, None),
    ],
)
def test_when_to_come_again_is_said_where_that_helps(
    code: Code, after: float | None, header: str | None
) -> None:
    problem = Problem.of(RetryableError(code, retry_after=after))
    assert header == problems.answer(problem).headers.get("Retry-After")


async def test_a_failure_in_the_middle_of_an_answer_breaks_it_off(client: Client) -> None:
    async with client.get("/break") as answer:
        with pytest.raises(ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize("abruptly", [False, True])
async def test_who_hangs_up_is_no_fault_that_is_logged(
    app: web.Application, port: int, caplog: pytest.LogCaptureFixture, *, abruptly: bool
) -> None:
    async def asked(path: str) -> tuple[bytes, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return await reader.read(1000), writer

    _, writer = await asked("/pour")
    with caplog.at_level("INFO", "aiohttp"):
        if abruptly:
            writer.transport.abort()
        else:
            writer.close()
        async with asyncio.timeout(10):
            await app[POURED].wait()
        # The next one is answered after whatever is said about that one.
        answer, writer = await asked("/crash")
        assert b" 500 " in answer
        writer.close()
    assert [line for line in caplog.messages if "Error" in line] == []


async def test_a_bug_is_an_answer_without_its_details(client: Client) -> None:
    async with client.get("/crash") as answer:
        body = await answer.json(content_type="application/problem+json")
    assert (answer.status, body["code"], body["detail"]) == (500, "internal", "")


@pytest.mark.parametrize("host", ["[", "evil.example", "evil.example:80", "127.0.0.1.evil.example"])
async def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    async with client.get("/crash", headers={"Host": host}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("origin", ["http://[", "null", "", "https://evil.example"])
async def test_a_foreign_origin_changes_nothing(client: Client, origin: str) -> None:
    async with client.post("/change", headers={"Origin": origin}) as answer:
        assert answer.status == 403
