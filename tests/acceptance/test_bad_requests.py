"""Bad requests: each is answered with one problem document, and the services stay up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from yarl import URL

from tests.acceptance.api import Answer, problem_of
from tests.acceptance.conftest import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.acceptance.api import Api
    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack


@pytest.fixture(autouse=True)
def _services_stay_up(stack: RunningStack) -> Iterator[None]:
    before = stack.pids()
    yield
    assert stack.pids() == before


#: Sources that no job is made of.
SOURCES: dict[str, tuple[object, str]] = {
    "words": ({"url": "my favourite song"}, "source.not_a_url"),
    "nothing": ({"url": ""}, "source.not_a_url"),
    "no host": ({"url": "http://"}, "source.not_a_url"),
    "no scheme": ({"url": "example.org/song.mp3"}, "source.not_a_url"),
    "a bad port": ({"url": "http://example.org:99999/"}, "source.not_a_url"),
    "a line break": ({"url": "http://example.org/\nHost: x"}, "source.not_a_url"),
    "too long": ({"url": "http://example.org/" + "a" * 3000}, "source.not_a_url"),
    "a file": ({"url": "file:///etc/passwd"}, "source.scheme"),
    "ftp": ({"url": "ftp://example.org/song.mp3"}, "source.scheme"),
    "script": ({"url": "javascript:alert(1)"}, "source.not_a_url"),
    "data": ({"url": "data:audio/mpeg;base64,AAAA"}, "source.not_a_url"),
    "neither": ({}, "request.malformed"),
    "both": ({"url": "http://example.org/a", "upload": "a"}, "request.malformed"),
    "a number": ({"url": 7}, "request.malformed"),
    "a list": (["http://example.org/"], "request.malformed"),
    "an upload that is not there": ({"upload": "0" * 32}, "source.upload_missing"),
    "an upload outside": ({"upload": "../../etc/passwd"}, "source.upload_missing"),
    "an unknown member": ({"url": "http://example.org/a", "cookie": "1"}, "request.malformed"),
}


@pytest.mark.parametrize("what", SOURCES)
async def test_a_source_that_is_none_is_refused(what: str, api: Api) -> None:
    source, code = SOURCES[what]
    problem = await api.problem("POST", "/v1/jobs", json={"source": source})
    assert problem["code"] == code


#: Options that no model fulfils.
OPTIONS: dict[str, tuple[object, str]] = {
    "an unknown model": ({"model": "gpt"}, "model.unknown"),
    "a model by path": ({"model": "../../tmp/evil"}, "model.unknown"),
    "a model on a hub": ({"model": "hf://evil/model"}, "model.unknown"),
    "a stem that the model lacks": ({"model": "dsp", "stems": ["piano"]}, "model.no_such_stem"),
    "a stem that none has": ({"stems": ["kazoo"]}, "model.no_such_stem"),
    "a stem by path": ({"stems": ["../vocals"]}, "model.no_such_stem"),
    "a stem twice": ({"stems": ["vocals", "vocals"]}, "request.malformed"),
    "an unknown format": ({"format": "exe"}, "request.malformed"),
    "stems in one word": ({"stems": "vocals"}, "request.malformed"),
    "an unknown option": ({"shell": "rm"}, "request.malformed"),
}


@pytest.mark.parametrize("what", OPTIONS)
async def test_options_that_no_model_fulfils_are_refused(what: str, api: Api) -> None:
    options, code = OPTIONS[what]
    await api.offered("tiny")  # a model whose file nobody has opened yet might make anything
    order = {"source": {"url": "http://example.org/a"}, "options": options}
    assert (await api.problem("POST", "/v1/jobs", json=order))["code"] == code


#: Bodies that are no order.
BODIES = {
    "nothing": b"",
    "half": b'{"source": {"url": "http://exa',
    "words": b"please separate this",
    "null": b"null",
    "a list": b"[]",
    "not UTF-8": b'{"source": {"url": "\xff\xfe"}}',
    "half a surrogate": b'{"source": {"url": "http://a/\\ud800"}}',
    "deep": b"[" * 60_000,
}


@pytest.mark.parametrize("what", BODIES)
async def test_malformed_json_is_refused(what: str, api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    problem = await api.problem("POST", "/v1/jobs", data=BODIES[what], headers=headers)
    assert (problem["code"], problem["status"]) == ("request.malformed", 400)


#: Requests that are refused whatever they are about: method, path, more, status, code.
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "another content type": ("POST", "/v1/jobs", {"data": b"{}"}, 415, "request.unacceptable"),
    "a huge order": (
        "POST",
        "/v1/jobs",
        {"json": {"source": {"url": "a" * 100_000}}},
        413,
        "request.too_large",
    ),
    "an empty upload": ("POST", "/v1/uploads", {"data": b""}, 422, "source.empty"),
    "a form without a file": (
        "POST",
        "/v1/uploads",
        {
            "data": b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=x"},
        },
        400,
        "request.malformed",
    ),
    "a form without a boundary": (
        "POST",
        "/v1/uploads",
        {"data": b"abc", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "request.malformed",
    ),
    "no such job": ("GET", "/v1/jobs/0000000000000000", {}, 404, "job.not_found"),
    "no such job's events": ("GET", "/v1/jobs/nobody/events", {}, 404, "job.not_found"),
    "no such job's stem": ("GET", "/v1/jobs/no/stems/vocals.flac", {}, 404, "job.not_found"),
    "no such job to cancel": ("POST", "/v1/jobs/nobody/cancel", {}, 404, "job.not_found"),
    "no such job to retry": ("POST", "/v1/jobs/nobody/retry", {}, 404, "job.not_found"),
    "an id with a wildcard": ("POST", "/v1/jobs/%3E/cancel", {}, 404, "job.not_found"),
    "an id with dots": ("POST", "/v1/jobs/a.b/cancel", {}, 404, "job.not_found"),
    "an id that climbs": ("GET", "/v1/jobs/%2e%2e%2f%2e%2e%2fetc", {}, 404, "job.not_found"),
    "an id with NUL": ("GET", "/v1/jobs/a%00b", {}, 404, "job.not_found"),
    "a stem that climbs": (
        "GET",
        "/v1/jobs/a/stems/%2e%2e%2fx.flac",
        {},
        404,
        "request.no_such_route",
    ),
    "a page outside": ("GET", "/static/%2e%2e/http.py", {}, 404, "request.no_such_route"),
    "nowhere": ("GET", "/admin", {}, 404, "request.no_such_route"),
    "another method": ("DELETE", "/v1/jobs", {}, 405, "request.method_not_allowed"),
    "a bad cursor": ("GET", "/v1/jobs?cursor=%00", {}, 400, "request.malformed"),
    "another bad cursor": ("GET", "/v1/jobs?cursor=YWJj", {}, 400, "request.malformed"),
    "a limit of none": ("GET", "/v1/jobs?limit=0", {}, 400, "request.malformed"),
    "a limit of words": ("GET", "/v1/jobs?limit=all", {}, 400, "request.malformed"),
    "an unknown status": ("GET", "/v1/jobs?status=lost", {}, 400, "request.malformed"),
    "a bad event id": (
        "GET",
        "/v1/events",
        {"headers": {"Last-Event-ID": "latest"}},
        400,
        "request.malformed",
    ),
    "a negative event id": (
        "GET",
        "/v1/events",
        {"headers": {"Last-Event-ID": "-1"}},
        400,
        "request.malformed",
    ),
    "another site's page": (
        "POST",
        "/v1/jobs",
        {"json": {}, "headers": {"Origin": "http://evil.example"}},
        403,
        "request.forbidden",
    ),
    "a sandboxed page": (
        "POST",
        "/v1/uploads",
        {"data": b"x", "headers": {"Origin": "null"}},
        403,
        "request.forbidden",
    ),
    "another host's name": (
        "GET",
        "/v1/jobs",
        {"headers": {"Host": "evil.example"}},
        403,
        "request.forbidden",
    ),
}


@pytest.mark.parametrize("what", REQUESTS)
async def test_a_request_that_can_not_be_served_is_refused(what: str, api: Api) -> None:
    method, path, more, status, code = REQUESTS[what]
    async with api.session.request(method, URL(api.url + path, encoded=True), **more) as answer:
        problem = problem_of(Answer(answer.status, answer.headers, await answer.read()))
    assert (problem["status"], problem["code"]) == (status, code)


async def test_an_upload_that_announces_too_much_is_refused(api: Api) -> None:
    """A 2 GB upload is refused before it is sent."""
    where = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST /v1/uploads HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {2 << 30}\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


async def test_an_upload_that_does_not_say_its_length_is_cut_off(
    api: Api, stack: RunningStack
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_UPLOAD_BYTES // (1 << 20) + 1):
            yield b"\x00" * (1 << 20)

    folder = stack.data / "blobs" / "uploads"
    before = set(folder.glob("*"))
    problem = await api.problem("POST", "/v1/uploads", data=pieces())
    assert (problem["status"], problem["code"]) == (413, "request.too_large")
    assert set(folder.glob("*")) == before


async def test_a_huge_header_is_refused(api: Api) -> None:
    answer = await api.ask("GET", "/v1/jobs", headers={"X-Much": "a" * 20_000})
    assert answer.status == 400


async def test_what_is_no_http_is_refused(api: Api) -> None:
    where = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1 not http\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
    writer.close()


async def test_a_job_that_has_completed_can_neither_be_cancelled_nor_retried(
    api: Api, songs: Songs
) -> None:
    job = await api.finished(songs.path("song.mp3"))
    for verb in ("cancel", "retry"):
        problem = await api.problem("POST", f"/v1/jobs/{job['id']}/{verb}")
        assert (problem["status"], problem["code"]) == (409, "job.wrong_state")
