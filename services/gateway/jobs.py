"""The jobs' routes: submit, read, list, and every order about one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from services.gateway import bodies
from services.gateway.admission import in_words_of
from services.gateway.cursors import Cursor, encode_cursor, wanted_jobs
from services.gateway.projection import JOB
from services.gateway.requests import JobRequest, PriorityRequest, admit_source
from services.gateway.schema import micros
from services.gateway.uploads import find_upload
from shared.contracts.commands import (
    Accepted,
    CancelJob,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryJob,
    SubmitJob,
)
from shared.contracts.snapshot import Snapshot
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError
from shared.telemetry import TRACEPARENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.gateway.actor import Asker
    from services.gateway.admission import Admission
    from services.gateway.feed import Feed
    from services.gateway.projection import Projection
    from services.gateway.search import Search
    from shared.blobs import BlobStore
    from shared.contracts.commands import JobCommand
    from shared.contracts.request import Source
    from shared.telemetry import Telemetry


class JobPage(Struct, frozen=True):
    """The body of ``GET /v1/jobs``."""

    jobs: list[Snapshot]
    #: Token of the next page; null on the last one.
    next: str | None
    #: Revision that this page shows: live events go on from here.
    revision: int


class Jobs:
    """Handlers of ``/v1/jobs``."""

    def __init__(
        self,
        *,
        asker: Asker,
        admission: Admission,
        feed: Feed,
        projection: Projection,
        search: Search,
        blobs: BlobStore,
        telemetry: Telemetry,
    ) -> None:
        self._asker = asker
        self._admission = admission
        self._feed = feed
        self._projection = projection
        self._search = search
        self._blobs = blobs
        self._telemetry = telemetry

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        orders: dict[str, Callable[[str], JobCommand]] = {
            "cancel": lambda job_id: CancelJob(job_id=job_id),
            "retry": lambda job_id: RetryJob(job_id=job_id),
            "hold": lambda job_id: HoldJob(job_id=job_id),
            "release": lambda job_id: ReleaseJob(job_id=job_id),
            "front": lambda job_id: FrontJob(job_id=job_id),
        }
        return [
            web.post("/v1/jobs", self.submit),
            web.get("/v1/jobs", self.list),
            web.get("/v1/jobs/{job_id}", self.show),
            web.delete("/v1/jobs/{job_id}", self.delete),
            web.post("/v1/jobs/{job_id}/priority", self.prioritize),
            *(
                web.post(f"/v1/jobs/{{job_id}}/{verb}", self._order(command))
                for verb, command in orders.items()
            ),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """``POST /v1/jobs`` → 201 with the job, 200 if it has come before, or 202 with its id."""
        asked = await bodies.read(request, JobRequest)
        submission = self._admission.admit(request, asked, JOB)
        source = admit_source(asked.source)
        if source.upload and not submission.again:  # else it may have been used up by then
            source = await self._uploaded(source.upload)
        about = {"job_id": submission.id}
        with self._telemetry.span("POST /v1/jobs", request.headers, about), in_words_of(submission):
            command = SubmitJob(
                job_id=submission.id,
                source=source,
                options=submission.options,
                terms=submission.terms,
                traceparent=self._telemetry.headers().get(TRACEPARENT),
            )
            answered = await self._asker.ask(command)
        headers = {"Location": f"/v1/jobs/{submission.id}"}
        if not isinstance(answered, Accepted):
            return bodies.answer(202, bodies.NotYet(submission.id), headers)
        status = 200 if answered.repeated else 201
        return bodies.answer(status, self._feed.now(answered.job), headers)

    async def _uploaded(self, upload: str) -> Source:
        source = await find_upload(self._blobs, upload)
        if source is None:
            raise TerminalError(Code.SOURCE_UPLOAD_MISSING, upload)
        return source

    def _order(
        self, command: Callable[[str], JobCommand]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def carry_out(request: web.Request) -> web.Response:
            """``POST /v1/jobs/{id}/…`` → the job."""
            return await self._carry_out(command(_job_id(request)))

        return carry_out

    async def prioritize(self, request: web.Request) -> web.Response:
        """``POST /v1/jobs/{id}/priority`` → the job."""
        job_id = _job_id(request)
        asked = await bodies.read(request, PriorityRequest)
        return await self._carry_out(PrioritizeJob(job_id=job_id, priority=asked.priority))

    async def _carry_out(self, command: JobCommand) -> web.Response:
        answered = await self._asker.ask(command)
        if not isinstance(answered, Accepted):
            headers = {"Location": f"/v1/jobs/{command.job_id}"}
            return bodies.answer(202, bodies.NotYet(command.job_id), headers)
        return bodies.answer(200, self._feed.now(answered.job))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /v1/jobs/{id}`` → 204."""
        job_id = _job_id(request)
        answered = await self._asker.ask(DeleteJob(job_id=job_id))
        if answered is None:
            return bodies.answer(202, bodies.NotYet(job_id))
        return web.Response(status=204)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v1/jobs/{id}`` → the job."""
        return bodies.answer(200, self.snapshot(_job_id(request)))

    async def list(self, request: web.Request) -> web.Response:
        """``GET /v1/jobs`` → a page of jobs."""
        wanted = wanted_jobs(request.query)
        revision = self._projection.revision
        # One more than asked for tells whether there is another page.
        numbers = await self._search.page(wanted._replace(limit=wanted.limit + 1))
        rows = self._projection.rows(numbers)
        jobs = [self._feed.now(row.snapshot) for row in rows[: wanted.limit]]
        token = None
        if len(rows) > wanted.limit:
            last = jobs[-1]
            moment = last.updated_at if wanted.sort.column == "updated" else last.created_at
            token = encode_cursor(Cursor(micros(moment), last.id), wanted.about)
        return bodies.answer(200, JobPage(jobs, token, revision))

    def snapshot(self, job_id: str) -> Snapshot:
        """The job as it is now; ``job.not_found`` if there is none."""
        row = self._projection.get(job_id)
        if row is None:
            raise TerminalError(Code.JOB_NOT_FOUND, job_id[:64])
        return self._feed.now(row.snapshot)


def _job_id(request: web.Request) -> str:
    job_id = request.match_info["job_id"]
    if not TOKEN.match(job_id):
        raise TerminalError(Code.JOB_NOT_FOUND, job_id[:64])
    return job_id
