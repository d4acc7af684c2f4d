"""The jobs' routes: submit, read, list, cancel, retry."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from services.gateway.core import (
    Cursor,
    admit_options,
    admit_source,
    decode_cursor,
    encode_cursor,
    parse_job_request,
    whole_number,
)
from services.gateway.projection import age_of
from shared.blobs import upload_key
from shared.contracts.codec import encode
from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.job import Status
from shared.contracts.snapshot import Snapshot
from shared.contracts.subjects import TOKEN
from shared.errors import Code, RetryableError, TerminalError
from shared.telemetry import TRACEPARENT

if TYPE_CHECKING:
    from services.gateway.actor import Asker
    from services.gateway.catalogue import Catalogue
    from services.gateway.feed import Feed
    from services.gateway.projection import Projection
    from shared.blobs import BlobStore
    from shared.contracts.commands import Command
    from shared.telemetry import Telemetry

#: Jobs on a page of the list: by default, and at most.
PAGE: Final = 50
LARGEST_PAGE: Final = 200
#: Seconds that a request's body may take to arrive.
BODY_SECONDS: Final = 15.0
#: Bytes of randomness in a job's id: nobody guesses it, two never meet.
ID_BYTES: Final = 8


class JobPage(Struct, frozen=True):
    """The body of ``GET /v1/jobs``."""

    jobs: list[Snapshot]
    #: Token of the next page; null on the last one.
    next: str | None
    #: Revision that this page shows: live events go on from here.
    revision: int


class NotYet(Struct, frozen=True):
    """The body of a 202: stored, but the scheduler has not answered yet."""

    id: str


class Jobs:
    """Handlers of ``/v1/jobs``."""

    def __init__(
        self,
        *,
        asker: Asker,
        feed: Feed,
        projection: Projection,
        catalogue: Catalogue,
        blobs: BlobStore,
        telemetry: Telemetry,
    ) -> None:
        self._asker = asker
        self._feed = feed
        self._projection = projection
        self._catalogue = catalogue
        self._blobs = blobs
        self._telemetry = telemetry

    async def submit(self, request: web.Request) -> web.Response:
        """``POST /v1/jobs`` → 201 with the job, or 202 with its id."""
        if request.content_type != "application/json":
            raise TerminalError(Code.REQUEST_UNACCEPTABLE, "Content-Type: application/json")
        asked = parse_job_request(await _body(request))
        options = admit_options(
            asked.options, self._catalogue.offers(), complete=self._catalogue.complete
        )
        source = admit_source(asked.source)
        if source.upload and await self._blobs.info(upload_key(source.upload)) is None:
            raise TerminalError(Code.SOURCE_UPLOAD_MISSING, source.upload)
        if asked.run_at is not None and asked.run_at.tzinfo is None:
            raise TerminalError(Code.REQUEST_MALFORMED, "run_at: give a time with its zone")
        job_id = secrets.token_hex(ID_BYTES)
        with self._telemetry.span("POST /v1/jobs", request.headers, {"job_id": job_id}):
            command = SubmitJob(
                job_id=job_id,
                source=source,
                options=options,
                run_at=asked.run_at,
                traceparent=self._telemetry.headers().get(TRACEPARENT),
            )
            return await self._ask(command, 201)

    async def cancel(self, request: web.Request) -> web.Response:
        """``POST /v1/jobs/{id}/cancel`` → the job."""
        return await self._ask(CancelJob(job_id=_job_id(request)), 200)

    async def retry(self, request: web.Request) -> web.Response:
        """``POST /v1/jobs/{id}/retry`` → the job."""
        return await self._ask(RetryJob(job_id=_job_id(request)), 200)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v1/jobs/{id}`` → the job."""
        return _json(200, self.snapshot(_job_id(request)))

    async def list(self, request: web.Request) -> web.Response:
        """``GET /v1/jobs`` → a page of jobs, newest first."""
        query = request.query
        limit = whole_number("limit", query.get("limit") or str(PAGE), 1, LARGEST_PAGE)
        cursor = decode_cursor(query["cursor"]) if query.get("cursor") else None
        status = query.get("status") or None
        if status is not None and status not in set(Status):
            raise TerminalError(Code.REQUEST_MALFORMED, f"status: one of {', '.join(Status)}")
        revision = self._projection.revision
        rows = self._projection.page(limit + 1, cursor, status)
        more = len(rows) > limit
        jobs = [self._feed.now(row.snapshot) for row in rows[:limit]]
        token = encode_cursor(Cursor(age_of(jobs[-1]), jobs[-1].id)) if more else None
        return _json(200, JobPage(jobs, token, revision))

    def snapshot(self, job_id: str) -> Snapshot:
        """The job as it is now; ``job.not_found`` if there is none."""
        row = self._projection.get(job_id)
        if row is None:
            raise TerminalError(Code.JOB_NOT_FOUND, job_id)
        return self._feed.now(row.snapshot)

    async def _ask(self, command: Command, status: int) -> web.Response:
        job = await self._asker.ask(command)
        headers = {"Location": f"/v1/jobs/{command.job_id}"}
        if job is None:
            return _json(202, NotYet(command.job_id), headers)
        return _json(status, self._feed.now(job), headers if status == 201 else None)  # noqa: PLR2004 - created


async def _body(request: web.Request) -> bytes:
    """A small request's body; one that does not come is not waited for."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as exc:
        raise RetryableError(Code.SOURCE_STALLED, "the request's body did not come") from exc


def _job_id(request: web.Request) -> str:
    job_id = request.match_info["job_id"]
    if not TOKEN.match(job_id):
        raise TerminalError(Code.JOB_NOT_FOUND, job_id[:64])
    return job_id


def _json(status: int, body: Struct, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
