"""The batches' routes: many songs at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from services.gateway import bodies
from services.gateway.admission import in_words_of
from services.gateway.cursors import Cursor, encode_cursor, wanted_batches
from services.gateway.overview import BatchBody
from services.gateway.projection import BATCH
from services.gateway.requests import BatchRequest, admit_entries, admit_playlist
from services.gateway.schema import micros
from services.gateway.uploads import find_upload
from shared.contracts.batch import Entry, Skipped
from shared.contracts.codec import encode
from shared.contracts.commands import AcceptedBatch, CancelBatch, RetryBatch, SubmitBatch
from shared.contracts.request import Source
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError
from shared.jetstream.topology import MAX_MESSAGE_BYTES
from shared.telemetry import TRACEPARENT

if TYPE_CHECKING:
    from services.gateway.actor import Asker
    from services.gateway.admission import Admission, Submission
    from services.gateway.overview import Overviews
    from services.gateway.projection import Projection
    from shared.blobs import BlobStore
    from shared.contracts.commands import BatchCommand
    from shared.telemetry import Telemetry

#: Largest body of a batch: 500 addresses of 2,048 characters.
MAX_BODY: Final = 1 << 20
#: Largest command: the batch's record has the same songs in it, and something more.
MAX_COMMAND: Final = MAX_MESSAGE_BYTES - (32 << 10)
#: Uploads that are looked up at once.
LOOKUPS: Final = 16


class BatchPage(Struct, frozen=True):
    """The body of ``GET /v1/batches``."""

    batches: list[BatchBody]
    #: Token of the next page; null on the last one.
    next: str | None
    #: Revision that this page shows: live events go on from here.
    revision: int


class Batches:
    """Handlers of ``/v1/batches``."""

    def __init__(
        self,
        *,
        asker: Asker,
        admission: Admission,
        projection: Projection,
        overviews: Overviews,
        blobs: BlobStore,
        telemetry: Telemetry,
    ) -> None:
        self._asker = asker
        self._admission = admission
        self._projection = projection
        self._overviews = overviews
        self._blobs = blobs
        self._telemetry = telemetry

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.post("/v1/batches", self.submit),
            web.get("/v1/batches", self.list),
            web.get("/v1/batches/{batch_id}", self.show),
            web.post("/v1/batches/{batch_id}/cancel", self.cancel),
            web.post("/v1/batches/{batch_id}/retry", self.retry),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """``POST /v1/batches`` → 201 with the batch, 200 if it has come before, 202 with its id."""
        asked = await bodies.read(request, BatchRequest, MAX_BODY)
        submission = self._admission.admit(request, asked, BATCH)
        playlist = admit_playlist(asked)
        entries, skipped = await self._songs(asked, submission) if playlist is None else ((), ())
        about = {"job_id": submission.id}
        name = "POST /v1/batches"
        with self._telemetry.span(name, request.headers, about), in_words_of(submission):
            command = SubmitBatch(
                job_id=submission.id,
                options=submission.options,
                terms=submission.terms,
                playlist=playlist,
                entries=entries,
                skipped=skipped,
                traceparent=self._telemetry.headers().get(TRACEPARENT),
            )
            size = len(encode(command))
            if size > MAX_COMMAND:
                detail = f"its addresses take {size} bytes; at most {MAX_COMMAND}"
                raise TerminalError(Code.BATCH_TOO_LONG, detail)
            return await self._carry_out(command, 201)

    async def _songs(
        self, asked: BatchRequest, submission: Submission
    ) -> tuple[tuple[Entry, ...], tuple[Skipped, ...]]:
        uploads = {upload for upload in asked.uploads or () if TOKEN.match(upload)}
        known = self._projection.batch(submission.id) if submission.again else None
        if known is not None:
            # Its uploads may have been used up: what was there when it came first counts.
            missing = uploads & {skipped.entry for skipped in known.snapshot.skipped}
            found = {upload: Source(upload=upload) for upload in uploads - missing}
        else:
            found = await self._uploaded(uploads)
        return admit_entries(asked, found)

    async def _uploaded(self, uploads: set[str]) -> dict[str, Source]:
        """Those that are there, as sources."""
        some = asyncio.Semaphore(LOOKUPS)

        async def look(upload: str) -> Source | None:
            async with some:
                return await find_upload(self._blobs, upload)

        ordered = sorted(uploads)
        found = await asyncio.gather(*map(look, ordered))
        pairs = zip(ordered, found, strict=True)
        return {upload: source for upload, source in pairs if source is not None}

    async def cancel(self, request: web.Request) -> web.Response:
        """``POST /v1/batches/{id}/cancel`` → the batch."""
        return await self._carry_out(CancelBatch(job_id=_batch_id(request)), 200)

    async def retry(self, request: web.Request) -> web.Response:
        """``POST /v1/batches/{id}/retry`` → the batch."""
        return await self._carry_out(RetryBatch(job_id=_batch_id(request)), 200)

    async def _carry_out(self, command: BatchCommand, status: int) -> web.Response:
        answered = await self._asker.ask(command)
        headers = {"Location": f"/v1/batches/{command.job_id}"}
        if not isinstance(answered, AcceptedBatch):
            return bodies.answer(202, bodies.NotYet(command.job_id), headers)
        body = self._overviews.of(answered.batch)
        return bodies.answer(200 if answered.repeated else status, body, headers)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /v1/batches/{id}`` → the batch."""
        batch_id = _batch_id(request)
        row = self._projection.batch(batch_id)
        if row is None:
            raise TerminalError(Code.BATCH_NOT_FOUND, batch_id)
        return bodies.answer(200, self._overviews.of(row.snapshot))

    async def list(self, request: web.Request) -> web.Response:
        """``GET /v1/batches`` → a page of batches, newest first."""
        wanted = wanted_batches(request.query)
        revision = self._projection.revision
        rows = self._projection.batches(wanted.limit + 1, wanted.after)
        batches = list[BatchBody]()
        for row in rows[: wanted.limit]:
            batches.append(self._overviews.of(row.snapshot))
            await asyncio.sleep(0)
        token = None
        if len(rows) > wanted.limit:
            last = batches[-1]
            token = encode_cursor(Cursor(micros(last.created_at), last.id), wanted.about)
        return bodies.answer(200, BatchPage(batches, token, revision))


def _batch_id(request: web.Request) -> str:
    batch_id = request.match_info["batch_id"]
    if not TOKEN.match(batch_id):
        raise TerminalError(Code.BATCH_NOT_FOUND, batch_id[:64])
    return batch_id
