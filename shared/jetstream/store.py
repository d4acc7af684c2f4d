"""The jobs' bucket: records by id, each write a compare-and-set on the record's revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import Header

from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.job import Job
from shared.contracts.subjects import token
from shared.jetstream.connection import PUBLISH_SECONDS, broker_errors
from shared.jetstream.topology import JOBS, JOBS_SUBJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

#: The broker's code for "the last sequence is not the one you expect".
_WRONG_SEQUENCE: Final = 10071
#: Records a page of a scan, and seconds that a page may take.
_PAGE: Final = 500
_PAGE_SECONDS: Final = 5.0
_DIRECT_GET: Final = f"$JS.API.DIRECT.GET.{JOBS}"


class Stored(NamedTuple):
    """A record and the revision it has in the bucket; no job where it was deleted."""

    job_id: str
    revision: int
    job: Job | None


class ConflictError(Exception):
    """The record has another revision: somebody wrote in between."""


class _BatchRequest(msgspec.Struct, omit_defaults=True):
    batch: int
    seq: int
    next_by_subj: str


class JobStore:
    """Job records in a JetStream key-value bucket, read by direct get."""

    def __init__(self, nc: Client, log: FilteringBoundLogger | None = None) -> None:
        self._nc = nc
        self._log = log
        self._js: JetStreamContext = nc.jetstream(timeout=PUBLISH_SECONDS)
        self._decoder: Decoder[Job] = Decoder(Job)

    async def load(self, job_id: str) -> Stored | None:
        """The newest record, or None if there never was one.  ConnectionError if unknown."""
        subject = JOBS_SUBJECT + token(job_id)
        try:
            with broker_errors():
                message = await self._js.get_last_msg(JOBS, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        job = self._decoder.decode(message.data) if message.data else None
        return Stored(job_id, int(message.seq or 0), job)

    async def get(self, job_id: str) -> Job | None:
        """The job as it is now, or None if there is no such job."""
        stored = await self.load(job_id)
        return stored.job if stored else None

    async def write(self, job: Job, revision: int) -> int:
        """Replace revision ``revision`` (0: there is none) of a record; the new revision.

        ``ConflictError`` if it has another one by now.  A write that took effect but whose
        confirmation was lost may be repeated: it is recognized.
        """
        body = encode(job)
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}
        try:
            with broker_errors():
                ack = await self._js.publish(JOBS_SUBJECT + token(job.id), body, headers=headers)
        except nats.js.errors.APIError as exc:
            if exc.err_code != _WRONG_SEQUENCE:
                raise ConnectionError(str(exc)) from exc
            stored = await self.load(job.id)
            if stored is not None and stored.job is not None and encode(stored.job) == body:
                return stored.revision
            raise ConflictError(job.id) from exc
        return int(ack.seq)

    async def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        """Every record whose newest revision is higher than ``after``, by revision.

        Reads in pages straight from the bucket: no consumer, which a service may not create.
        """
        inbox = self._nc.new_inbox()
        with broker_errors():
            subscription = await self._nc.subscribe(inbox)
        try:
            while True:
                request = _BatchRequest(_PAGE, after + 1, f"{JOBS_SUBJECT}>")
                with broker_errors():
                    await self._nc.publish(_DIRECT_GET, encode(request), reply=inbox)
                full = False
                while True:
                    with broker_errors():
                        message = await subscription.next_msg(timeout=_PAGE_SECONDS)
                    headers = message.headers or {}
                    if "Status" in headers:
                        break
                    revision = int(headers["Nats-Sequence"])
                    job_id = headers["Nats-Subject"].removeprefix(JOBS_SUBJECT)
                    after, full = revision, True
                    try:
                        job = self._decoder.decode(message.data) if message.data else None
                    except UndecodableError as exc:
                        # One record of another version must not keep all others from being read.
                        if self._log is not None:
                            self._log.error("undecodable record", job_id=job_id, reason=str(exc))
                        continue
                    yield Stored(job_id, revision, job)
                if not full:
                    return
        finally:
            await subscription.unsubscribe()
