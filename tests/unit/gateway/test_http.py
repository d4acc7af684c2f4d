"""The API over HTTP, on a real server: what each address takes and answers, and what it refuses."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from services.gateway.actor import RefusedError
from services.gateway.admission import Admission
from services.gateway.batches import MAX_COMMAND, Batches
from services.gateway.catalogue import Catalogue
from services.gateway.config import GatewayConfig
from services.gateway.feed import Feed
from services.gateway.http import Server
from services.gateway.jobs import Jobs
from services.gateway.places import Places
from services.gateway.requests import id_of_key
from services.gateway.ring import Ring
from services.gateway.sse import Events
from services.gateway.uploads import Uploads
from shared.blobs import BlobStore, open_store, upload_key, upload_note_key
from shared.contracts.batch import MAX_ENTRIES, Batch, batch_snapshot
from shared.contracts.commands import (
    Accepted,
    AcceptedBatch,
    CancelBatch,
    CancelJob,
    Command,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryBatch,
    RetryJob,
    SubmitBatch,
    SubmitJob,
    digest_of,
)
from shared.contracts.live import Queue
from shared.contracts.problem import Problem
from shared.contracts.request import Priority, Source, Terms
from shared.contracts.snapshot import snapshot
from shared.errors import Code, RetryableError, TerminalError
from tests.support import batches, jobs
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from services.gateway.actor import Asker
    from shared.telemetry import Telemetry
    from tests.unit.gateway.conftest import Clock, Model

URL = "https://example.org/a.mp3"
SONG = {"source": {"url": URL}}
OWNER = "X-Owner"


class Scheduler:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Command] = []
        self.answer: Accepted | AcceptedBatch | Problem | None = Accepted(
            job=snapshot(jobs.pending())
        )

    async def ask(self, command: Command) -> Accepted | AcceptedBatch | None:
        self.asked.append(command)
        if isinstance(self.answer, Problem):
            raise RefusedError(self.answer)
        return self.answer


class Answered:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body: dict[str, Any] = json.loads(body) if body else {}

    @property
    def told(self) -> tuple[int, str]:
        """The status, and the code of a failure."""
        return self.status, self.body.get("code", "")


class House:
    """A gateway with a scheduler that isn't one."""

    def __init__(self, *, session: ClientSession, base: str, **parts: Any) -> None:  # noqa: ANN401 - so many
        self._session = session
        self._base = base
        self.scheduler: Scheduler = parts["scheduler"]
        self.model: Model = parts["model"]
        self.blobs: BlobStore = parts["blobs"]
        self.places: Places = parts["places"]
        self.uploads: Uploads = parts["uploads"]
        self.server: Server = parts["server"]

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
    ) -> Answered:
        data = (
            body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        )
        given = list(headers.items()) if isinstance(headers, dict) else headers or []
        if not any(name == "Content-Type" for name, _ in given):
            given = [("Content-Type", "application/json"), *given]
        async with self._session.request(
            method,
            self._base + path,
            data=None if data is None else io.BytesIO(data),
            headers=given,
        ) as answer:
            return Answered(answer.status, dict(answer.headers), await answer.read())

    async def post(self, path: str, body: object = None, **headers: str) -> Answered:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", path, body, named)


@pytest.fixture
def config() -> GatewayConfig:
    return GatewayConfig(allowed_hosts=("127.0.0.1",))


@pytest.fixture
async def house(
    model: Model,
    clock: Clock,
    config: GatewayConfig,
    tmp_path: Path,
    log: FilteringBoundLogger,
    telemetry: Telemetry,
) -> AsyncIterator[House]:
    scheduler, ring = Scheduler(), Ring()
    asker: Asker = scheduler  # type: ignore[assignment] # ask() is all
    blobs = BlobStore(open_store(f"file://{tmp_path}/blobs"))
    places = Places(now=lambda: NOW, steady=clock)
    feed = Feed(
        nc=None,
        records=None,  # type: ignore[arg-type] # it reads nothing here
        projection=model.projection,
        overviews=model.overviews,
        places=places,
        ring=ring,
        now=lambda: NOW,
        log=log,
    )
    catalogue = Catalogue(clock)
    admission = Admission(
        catalogue=catalogue,
        projection=model.projection,
        owner_header=config.owner_header,
        now=lambda: NOW,
    )
    uploads = Uploads(
        blobs=blobs,
        room=lambda: 1000,
        min_free_bytes=config.min_free_bytes,
        max_bytes=config.max_upload_bytes,
        max_uploads=2,
        silence_seconds=5.0,
    )
    handlers = (
        Jobs(
            asker=asker,
            admission=admission,
            feed=feed,
            projection=model.projection,
            search=model.search,
            blobs=blobs,
            telemetry=telemetry,
        ),
        Batches(
            asker=asker,
            admission=admission,
            projection=model.projection,
            overviews=model.overviews,
            blobs=blobs,
            telemetry=telemetry,
        ),
        uploads,
    )
    events = Events(
        feed=feed, projection=model.projection, ring=ring, max_streams=2, stall_seconds=5.0
    )
    server = Server(
        config=config,
        routes=[route for handler in handlers for route in handler.routes()],
        events=events,
        catalogue=catalogue,
        log=log,
    )
    async with TestServer(server._app) as listening, ClientSession() as session:
        yield House(
            session=session,
            base=str(listening.make_url("")).rstrip("/"),
            scheduler=scheduler,
            model=model,
            blobs=blobs,
            places=places,
            uploads=uploads,
            server=server,
        )


async def test_a_submission_says_everything(house: House) -> None:
    body = {
        **SONG,
        "options": {"model": "dsp", "stems": ["vocals"], "format": "mp3"},
        "priority": "high",
        "owner": "Zoë",
        "run_at": "2026-05-04T05:02:02+02:00",
        "deadline": "2026-05-05T00:00:00Z",
        "id": "mine",
    }
    answered = await house.post("/v1/jobs", body)
    assert (answered.status, answered.headers["Location"]) == (201, "/v1/jobs/mine")
    assert answered.body["id"] == "j1"
    (command,) = house.scheduler.asked
    assert isinstance(command, SubmitJob)
    assert (command.job_id, command.source) == ("mine", Source(url=URL))
    assert command.options.stems == ("vocals",)
    assert (command.terms.owner, command.terms.priority) == ("Zoë", Priority.HIGH)
    assert command.terms.run_at == NOW + timedelta(seconds=1)


async def test_a_submission_may_say_hardly_anything(house: House) -> None:
    ids = set()
    for _ in range(3):
        assert (await house.post("/v1/jobs", SONG)).status == 201
        command = house.scheduler.asked[-1]
        assert isinstance(command, SubmitJob)
        assert command.terms == Terms()
        ids.add(command.job_id)
    assert len(ids) == 3


PENDING = snapshot(jobs.pending())


@pytest.mark.parametrize(
    ("answer", "told", "retry_after"),
    [
        (Accepted(job=PENDING), (201, ""), None),
        (Accepted(job=PENDING, repeated=True), (200, ""), None),
        (None, (202, ""), None),
        (Problem.of(TerminalError(Code.JOB_EXISTS)), (409, "job.exists"), None),
        (Problem.of(TerminalError(Code.JOB_REMOVED)), (410, "job.removed"), None),
        (
            Problem.of(RetryableError(Code.QUEUE_FULL, retry_after=12.1)),
            (429, "queue.full"),
            "13",
        ),
        (
            Problem.of(RetryableError(Code.QUEUE_OWNER_FULL, retry_after=0.1)),
            (429, "queue.owner_full"),
            "1",
        ),
        (Problem.of(RetryableError(Code.SERVICE_UNAVAILABLE)), (503, "service.unavailable"), "5"),
    ],
)
async def test_what_the_scheduler_answers_is_passed_on(
    house: House,
    answer: Accepted | Problem | None,
    told: tuple[int, str],
    retry_after: str | None,
) -> None:
    house.scheduler.answer = answer
    answered = await house.post("/v1/jobs", {**SONG, "id": "mine"})
    assert (told, retry_after) == (answered.told, answered.headers.get("Retry-After"))
    if answered.status == 202:
        assert (answered.body, answered.headers["Location"]) == ({"id": "mine"}, "/v1/jobs/mine")


async def test_a_key_makes_the_id_and_is_what_is_refused(house: House) -> None:
    body = {**SONG, "owner": "me"}
    assert (await house.post("/v1/jobs", body, Idempotency_Key="abc")).status == 201
    assert house.scheduler.asked[-1].job_id == id_of_key("me", "abc")
    house.scheduler.answer = Problem.of(TerminalError(Code.JOB_EXISTS))
    answered = await house.post("/v1/jobs", body, Idempotency_Key="abc")
    assert answered.told == (422, "request.key_reused")
    answered = await house.post("/v1/batches", {"urls": [URL]}, Idempotency_Key="abc")
    assert answered.told == (422, "request.key_reused")


async def test_the_same_submission_is_the_same_command(house: House) -> None:
    """Whichever gateway it comes to, however its times are written."""
    for deadline in ("2026-05-05T00:00:00Z", "2026-05-05T02:00:00+02:00"):
        await house.post("/v1/jobs", {**SONG, "deadline": deadline}, Idempotency_Key="abc")
    first, second = house.scheduler.asked
    assert isinstance(first, SubmitJob)
    assert isinstance(second, SubmitJob)
    assert digest_of(first) == digest_of(second)


DEEP: Any = "x"
for _ in range(5_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (None, (400, "request.malformed")),
        (b"", (400, "request.malformed")),
        (b"[]", (400, "request.malformed")),
        (b"NaN", (400, "request.malformed")),
        (b"\xff\xfe", (400, "request.malformed")),
        (b'{"source":' * 6_000, (400, "request.malformed")),
        ({**SONG, "deadline": "2026-05-04T03:02:01Z"}, (400, "request.malformed")),
        ({**SONG, "deadline": "2027-01-01T00:00:00"}, (400, "request.malformed")),
        (
            {**SONG, "run_at": "2027-01-01T00:00:00Z", "deadline": "2026-12-01T00:00:00Z"},
            (400, "request.malformed"),
        ),
        ({**SONG, "id": "a.b"}, (400, "request.malformed")),
        ({**SONG, "id": ""}, (400, "request.malformed")),
        ({**SONG, "id": "x" * 65}, (400, "request.malformed")),
        ({**SONG, "owner": "a\r\nSet-Cookie: x"}, (400, "request.malformed")),
        ({**SONG, "owner": "x" * 65}, (400, "request.malformed")),
        ({**SONG, "priority": "urgent"}, (400, "request.malformed")),
        ({"source": {"url": "nope"}}, (422, "source.not_a_url")),
        ({"source": {"upload": "gone"}}, (422, "source.upload_missing")),
        ({"source": {"upload": "gone", "digest": "0" * 64}}, (400, "request.malformed")),
        ({**SONG, "options": {"precision": "half"}}, (400, "request.malformed")),
        ({**SONG, "options": {"shifts": 11}}, (400, "request.malformed")),
        ({**SONG, "options": {"shifts": 1.5}}, (400, "request.malformed")),
        ({**SONG, "options": {"reuse": "no"}}, (400, "request.malformed")),
        ({**SONG, "options": {"model": "nope/x"}}, (422, "model.unknown")),
        ({**SONG, "options": {"stems": ["kazoo"]}}, (422, "model.no_such_stem")),
        (b" " * (64 << 10) + b"{}", (413, "request.too_large")),
        (b"[" * (900 << 10), (413, "request.too_large")),
    ],
)
async def test_what_can_t_be_submitted_never_reaches_the_scheduler(
    house: House,
    body: object,
    told: tuple[int, str],
) -> None:
    answered = await house.post("/v1/jobs", body)
    assert (told, []) == (answered.told, house.scheduler.asked)


@pytest.mark.parametrize(
    "headers",
    [
        [("Idempotency-Key", "")],
        [("Idempotency-Key", "a b")],
        [("Idempotency-Key", "x" * 256)],
        [("Idempotency-Key", "ä")],
        [("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    ],
)
async def test_a_key_that_is_none_is_malformed(
    house: House, headers: list[tuple[str, str]]
) -> None:
    answered = await house.ask("POST", "/v1/jobs", SONG, headers)
    assert (answered.told, house.scheduler.asked) == ((400, "request.malformed"), [])


async def test_an_id_and_a_key_are_one_too_many(house: House) -> None:
    for path, body in (("/v1/jobs", SONG), ("/v1/batches", {"urls": [URL]})):
        answered = await house.post(path, {**body, "id": "a"}, Idempotency_Key="b")
        assert answered.told == (400, "request.malformed")


async def test_a_body_that_is_packed_counts_as_what_it_holds(house: House) -> None:
    packed = gzip.compress(b" " * (10 << 20))
    answered = await house.post("/v1/jobs", packed, Content_Encoding="gzip")
    assert answered.told == (413, "request.too_large")
    answered = await house.post("/v1/jobs", json.dumps(SONG).encode(), Content_Type="text/plain")
    assert answered.told == (415, "request.unacceptable")


class TestBehindAProxy:
    """Where a trusted proxy says who asks."""

    @pytest.fixture
    def config(self) -> GatewayConfig:
        return GatewayConfig(allowed_hosts=("127.0.0.1",), owner_header=OWNER)

    @pytest.mark.parametrize(
        ("named", "told", "status"),
        [
            (None, ["me"], 201),
            ("me", ["me"], 201),
            (None, [], 403),
            (None, [""], 403),
            ("me", [], 403),
            ("me", ["you"], 403),
            (None, ["me", "you"], 403),
            (None, ["x" * 65], 400),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
    async def test_the_owner_is_who_it_says(
        self, house: House, path: str, named: str | None, told: list[str], status: int
    ) -> None:
        house.scheduler.answer = (
            Accepted(job=PENDING)
            if path == "/v1/jobs"
            else AcceptedBatch(batch=batch_snapshot(batches.submitted()))
        )
        body: dict[str, Any] = dict(SONG) if path == "/v1/jobs" else {"urls": [URL]}
        if named is not None:
            body["owner"] = named
        answered = await house.ask("POST", path, body, [(OWNER, value) for value in told])
        assert status == answered.status
        owners = [
            command.terms.owner
            for command in house.scheduler.asked
            if isinstance(command, SubmitJob | SubmitBatch)
        ]
        assert owners == (["me"] if status == 201 else [])


@pytest.mark.parametrize(
    ("method", "path", "body", "command"),
    [
        ("POST", "cancel", None, CancelJob(job_id="j1")),
        ("POST", "retry", None, RetryJob(job_id="j1")),
        ("POST", "hold", None, HoldJob(job_id="j1")),
        ("POST", "release", None, ReleaseJob(job_id="j1")),
        ("POST", "front", None, FrontJob(job_id="j1")),
        (
            *("POST", "priority", {"priority": "low"}),
            PrioritizeJob(job_id="j1", priority=Priority.LOW),
        ),
    ],
)
async def test_an_order_about_a_job_is_answered_with_the_job(
    house: House,
    method: str,
    path: str,
    body: object,
    command: Command,
) -> None:
    answered = await house.ask(method, f"/v1/jobs/j1/{path}", body)
    assert (answered.status, answered.body["id"]) == (200, "j1")
    assert house.scheduler.asked == [command]
    house.scheduler.answer = None
    answered = await house.ask(method, f"/v1/jobs/j1/{path}", body)
    assert (answered.status, answered.body) == (202, {"id": "j1"})
    house.scheduler.answer = Problem.of(TerminalError(Code.JOB_WRONG_STATE))
    answered = await house.ask(method, f"/v1/jobs/j1/{path}", body)
    assert answered.told == (409, "job.wrong_state")


async def test_a_job_is_deleted_without_a_word(house: House) -> None:
    answered = await house.ask("DELETE", "/v1/jobs/j1")
    assert (answered.status, answered.body) == (204, {})
    assert house.scheduler.asked == [DeleteJob(job_id="j1")]
    house.scheduler.answer = None
    assert (await house.ask("DELETE", "/v1/jobs/j1")).status == 202
    house.scheduler.answer = Problem.of(TerminalError(Code.JOB_NOT_FOUND))
    assert (await house.ask("DELETE", "/v1/jobs/j1")).told == (404, "job.not_found")


@pytest.mark.parametrize("odd", ["a.b", "*", "%3E", "a%20b", "%00", "%0d%0ax", "ä", "x" * 65])
async def test_an_id_that_can_t_be_is_not_found(house: House, odd: str) -> None:
    for method, path in (
        ("DELETE", f"/v1/jobs/{odd}"),
        ("GET", f"/v1/jobs/{odd}"),
        ("POST", f"/v1/jobs/{odd}/hold"),
        ("GET", f"/v1/jobs/{odd}/events"),
        ("GET", f"/v1/batches/{odd}"),
        ("POST", f"/v1/batches/{odd}/cancel"),
    ):
        answered = await house.ask(method, path)
        assert answered.status in {404, 405}, (method, path)
    assert house.scheduler.asked == []


@pytest.mark.parametrize("body", [None, {}, {"priority": "urgent"}, {"priority": None}, [], 7])
async def test_a_priority_that_is_none_is_malformed(house: House, body: object) -> None:
    answered = await house.post("/v1/jobs/j1/priority", body)
    assert (answered.told, house.scheduler.asked) == ((400, "request.malformed"), [])


async def test_a_list_is_what_was_asked_for_page_by_page(house: House) -> None:
    for number in range(5):
        job = replace(jobs.pending(), id=f"j{number}", created_at=NOW + timedelta(seconds=number))
        house.model.projection.store(number + 1, replace(job, updated_at=NOW))
    house.model.projection.store(6, replace(jobs.completed(), id="done"))
    shown, path = [], "/v1/jobs?status=pending&limit=2&q=EXAMPLE"
    while path:
        answered = await house.ask("GET", path)
        assert (answered.status, answered.body["revision"]) == (200, 6)
        shown += [job["id"] for job in answered.body["jobs"]]
        token = answered.body["next"]
        path = f"/v1/jobs?status=pending&limit=2&q=EXAMPLE&cursor={token}" if token else ""
    assert shown == ["j4", "j3", "j2", "j1", "j0"]
    by_update = await house.ask("GET", "/v1/jobs?sort=updated&limit=3")
    token = by_update.body["next"]
    assert (await house.ask("GET", f"/v1/jobs?sort=updated&cursor={token}")).status == 200
    for other in ("sort=-updated", "sort=updated&status=pending", "sort=updated&q=x", ""):
        answered = await house.ask("GET", f"/v1/jobs?{other}&cursor={token}")
        assert answered.told == (400, "request.malformed")
    assert (await house.ask("GET", f"/v1/batches?cursor={token}")).told[0] == 400


@pytest.mark.parametrize(
    "query",
    ["status=x", "sort=x", "limit=0", "limit=x", "cursor=x", f"q={'x' * 201}", "q=%00", "q=a%0Ab"],
)
async def test_a_list_that_makes_no_sense_is_malformed(house: House, query: str) -> None:
    assert (await house.ask("GET", f"/v1/jobs?{query}")).told == (400, "request.malformed")


async def test_a_job_that_waits_is_shown_with_its_place(house: House) -> None:
    house.model.projection.store(1, jobs.pending())
    house.places.heard(Queue(at=NOW, order=("j0", "j1"), rate=1.0, stalled=Code.STORAGE_LOW))
    for shown in (
        (await house.ask("GET", "/v1/jobs/j1")).body,
        (await house.ask("GET", "/v1/jobs")).body["jobs"][0],
        (await house.post("/v1/jobs/j1/hold")).body,
    ):
        assert (shown["position"], shown["waits_for"]["code"]) == (2, "storage.low")


BATCH = AcceptedBatch(batch=batch_snapshot(batches.submitted()))


async def test_a_batch_is_taken_with_what_is_wrong_with_it(house: House) -> None:
    house.scheduler.answer = BATCH
    await house.blobs.put(upload_key("u1"), b"x")
    answered = await house.post(
        "/v1/batches",
        {"urls": [URL, "nope", URL], "uploads": ["u1", "u2"], "priority": "low", "id": "b1"},
    )
    assert (answered.status, answered.headers["Location"]) == (201, "/v1/batches/b1")
    assert (answered.body["id"], answered.body["state"]) == ("b1", "processing")
    (command,) = house.scheduler.asked
    assert isinstance(command, SubmitBatch)
    assert [entry.source for entry in command.entries] == [
        *(Source(url=URL), Source(url=URL), Source(upload="u1")),
    ]
    assert [skipped.entry for skipped in command.skipped] == ["nope", "u2"]
    assert command.terms == Terms(priority=Priority.LOW)
    house.scheduler.answer = replace(BATCH, repeated=True)
    assert (await house.post("/v1/batches", {"urls": [URL], "id": "b1"})).status == 200
    house.scheduler.answer = None
    answered = await house.post("/v1/batches", {"playlist": URL, "id": "b1"})
    assert (answered.status, answered.body) == (202, {"id": "b1"})


async def test_a_batch_that_comes_again_is_the_same_though_its_uploads_are_used_up(
    house: House,
) -> None:
    house.scheduler.answer = BATCH
    await house.blobs.put(upload_key("u1"), b"x")
    body = {"uploads": ["u1", "u2"], "id": "b1"}
    await house.post("/v1/batches", body)
    (first,) = house.scheduler.asked
    assert isinstance(first, SubmitBatch)
    known: Batch = replace(batches.submitted(), entries=first.entries, skipped=first.skipped)
    house.model.projection.store_batch(1, known)
    await house.blobs.delete([upload_key("u1")])
    await house.post("/v1/batches", body)
    second = house.scheduler.asked[-1]
    assert isinstance(second, SubmitBatch)
    assert digest_of(first) == digest_of(second)


async def test_a_job_that_comes_again_is_the_same_though_much_has_changed(house: House) -> None:
    """Its upload is used up, its deadline is over, its model is gone."""
    body = {
        "source": {"upload": "u1"},
        "deadline": "2026-05-04T03:02:00Z",
        "id": "j1",
        "options": {"model": "own"},
    }
    house.model.projection.store(1, jobs.completed())
    house.scheduler.answer = Accepted(job=snapshot(jobs.completed()), repeated=True)
    assert (await house.post("/v1/jobs", body)).status == 200
    house.model.projection.remove(2, "j1", NOW)
    house.scheduler.answer = Problem.of(TerminalError(Code.JOB_REMOVED))
    assert (await house.post("/v1/jobs", body)).told == (410, "job.removed")
    assert (await house.post("/v1/jobs", {**body, "id": "j2"})).status == 400


LONG = "https://example.org/" + "a" * 2028


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, (400, "request.malformed")),
        ({"urls": URL}, (400, "request.malformed")),
        ({"urls": [[URL]]}, (400, "request.malformed")),
        ({"urls": [URL], "playlist": URL}, (400, "request.malformed")),
        ({"urls": [URL], "id": "x" * 61}, (400, "request.malformed")),
        ({"urls": [URL], "source": {}}, (400, "request.malformed")),
        ({"urls": []}, (422, "batch.empty")),
        ({"urls": ["nope"], "uploads": ["gone"]}, (422, "batch.empty")),
        ({"playlist": "nope"}, (422, "source.not_a_url")),
        ({"urls": [URL] * (MAX_ENTRIES + 1)}, (422, "batch.too_long")),
        ({"urls": ["x"] * 200_000}, (422, "batch.too_long")),
        # It fits into a request, but not into a record.
        ({"urls": [LONG] * MAX_ENTRIES}, (422, "batch.too_long")),
        ({"urls": ["x"] * 1_000_000}, (413, "request.too_large")),
    ],
)
async def test_any_other_batch_never_reaches_the_scheduler(
    house: House, body: dict[str, Any], told: tuple[int, str]
) -> None:
    answered = await house.post("/v1/batches", body)
    assert (told, []) == (answered.told, house.scheduler.asked)


async def test_the_largest_batch_fits_into_a_command(house: House) -> None:
    house.scheduler.answer = BATCH
    count = MAX_COMMAND // 2100
    assert (await house.post("/v1/batches", {"urls": [LONG] * count})).status == 201


async def test_orders_about_a_batch_are_answered_with_the_batch(house: House) -> None:
    house.scheduler.answer = BATCH
    for verb, command in (
        ("cancel", CancelBatch(job_id="b1")),
        ("retry", RetryBatch(job_id="b1")),
    ):
        answered = await house.post(f"/v1/batches/b1/{verb}")
        assert (answered.status, answered.body["id"]) == (200, "b1")
        assert house.scheduler.asked[-1] == command
    house.scheduler.answer = Problem.of(TerminalError(Code.BATCH_NOT_FOUND))
    assert (await house.post("/v1/batches/b1/cancel")).told == (404, "batch.not_found")
    house.scheduler.answer = Problem.of(TerminalError(Code.BATCH_WRONG_STATE))
    assert (await house.post("/v1/batches/b1/retry")).told == (409, "batch.wrong_state")


async def test_batches_are_listed_and_shown_with_what_has_come_of_them(house: House) -> None:
    for number in range(5):
        one = replace(batches.submitted(), id=f"b{number}", created_at=NOW)
        house.model.projection.store_batch(number + 1, one)
    house.model.projection.store(9, replace(jobs.completed(), id="b3-0", batch="b3"))
    assert (await house.ask("GET", "/v1/batches/b3")).body["counts"]["completed"] == 1
    assert (await house.ask("GET", "/v1/batches/b9")).told == (404, "batch.not_found")
    shown, path = [], "/v1/batches?limit=2"
    while path:
        answered = await house.ask("GET", path)
        assert answered.body["revision"] == 9
        shown += [batch["id"] for batch in answered.body["batches"]]
        token = answered.body["next"]
        path = f"/v1/batches?limit=2&cursor={token}" if token else ""
    assert shown == ["b4", "b3", "b2", "b1", "b0"]


async def test_who_stops_takes_nothing_more_and_still_answers(house: House) -> None:
    house.model.projection.store(1, jobs.pending())
    house.server._stopping = True
    for method, path in (
        ("POST", "/v1/jobs"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/uploads"),
        ("DELETE", "/v1/jobs/j1"),
    ):
        answered = await house.ask(method, path, SONG)
        assert answered.told == (503, "service.unavailable")
        assert answered.headers["Retry-After"] == "5"
    assert (await house.ask("GET", "/v1/jobs/j1")).status == 200
    assert house.scheduler.asked == []


class TestUploads:
    """Where 1,000 bytes are free and 600 are to stay so."""

    @pytest.fixture
    def config(self) -> GatewayConfig:
        return GatewayConfig(allowed_hosts=("127.0.0.1",), min_free_bytes=600)

    @pytest.mark.parametrize(("size", "told"), [(400, (201, "")), (401, (507, "storage.low"))])
    async def test_what_there_is_no_room_for_is_refused(
        self, house: House, size: int, told: tuple[int, str]
    ) -> None:
        answered = await house.post("/v1/uploads", b"x" * size, Content_Type="audio/mpeg")
        assert told == answered.told
        kept = [info.key async for info in house.blobs.under("uploads")]
        assert len(kept) == (2 if told[0] == 201 else 0)

    async def test_what_others_still_have_to_send_counts(self, house: House) -> None:
        sending = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"x" * 100
            await sending.wait()
            yield b"x" * 200

        headers = [("Content-Type", "audio/mpeg"), ("Content-Length", "300")]
        first = asyncio.create_task(
            house._session.post(house._base + "/v1/uploads", data=slowly(), headers=headers)
        )
        async with asyncio.timeout(10):
            while 100 not in {upload.bytes for upload in house.uploads._running}:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.01)
        refused = await house.post("/v1/uploads", b"x" * 201, Content_Type="audio/mpeg")
        taken = await house.post("/v1/uploads", b"x" * 200, Content_Type="audio/mpeg")
        assert (refused.status, taken.status) == (507, 201)
        sending.set()
        assert (await first).status == 201
        assert house.uploads._running == set()


class TestBytes:
    """Where there is room for some."""

    @pytest.fixture
    def config(self) -> GatewayConfig:
        return GatewayConfig(allowed_hosts=("127.0.0.1",), min_free_bytes=0)

    async def test_a_job_of_an_upload_says_which_bytes_it_is_and_what_they_were_called(
        self, house: House
    ) -> None:
        song = bytes(range(256)) * 4_000  # more than one piece
        answered = await house.post("/v1/uploads?filename=a.mp3", song, Content_Type="audio/mpeg")
        upload = answered.body["upload"]
        house.scheduler.answer = Accepted(job=snapshot(jobs.pending()))
        assert (await house.post("/v1/jobs", {"source": {"upload": upload}})).status == 201
        house.scheduler.answer = BATCH
        assert (await house.post("/v1/batches", {"uploads": [upload]})).status == 201
        job, batch = house.scheduler.asked
        assert isinstance(job, SubmitJob)
        assert isinstance(batch, SubmitBatch)
        counted = Source(upload=upload, digest=sha256(song).hexdigest(), name="a.mp3")
        assert [job.source, batch.entries[0].source] == [counted, counted]
        # Whether the upload is still there when the same comes again changes nothing.
        plain = replace(job, source=Source(upload=upload))
        assert digest_of(plain) == digest_of(job)


@pytest.mark.parametrize("note", [None, b"", b"{", b'{"digest": 1}'])
async def test_an_upload_of_which_nothing_is_known_is_taken_as_it_is(
    house: House, note: bytes | None
) -> None:
    await house.blobs.put(upload_key("u1"), b"x")
    if note is not None:
        await house.blobs.put(upload_note_key("u1"), note)
    house.scheduler.answer = Accepted(job=snapshot(jobs.pending()))
    await house.post("/v1/jobs", {"source": {"upload": "u1"}})
    (command,) = house.scheduler.asked
    assert isinstance(command, SubmitJob)
    assert command.source == Source(upload="u1")


async def test_uploads_are_not_measured_where_that_can_t_be_told_or_is_not_wanted(
    tmp_path: Path,
) -> None:
    blobs = BlobStore(open_store(f"file://{tmp_path}"))
    for room, least in ((lambda: None, 1 << 60), (lambda: 0, 0)):
        uploads = Uploads(
            blobs=blobs,
            room=room,
            min_free_bytes=least,
            max_bytes=1000,
            max_uploads=1,
            silence_seconds=1.0,
        )
        app = web.Application()
        app.add_routes(uploads.routes())
        async with (
            TestServer(app) as server,
            ClientSession() as session,
            session.post(server.make_url("/v1/uploads"), data=b"x") as answer,
        ):
            assert answer.status == 201
