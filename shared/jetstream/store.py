"""The jobs' bucket: records by key, each write a compare-and-set on the record's revision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import Header

from shared.contracts.batch import Batch
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.job import Job
from shared.contracts.subjects import token
from shared.contracts.work import ExpandWork, WorkBase
from shared.jetstream.connection import PUBLISH_SECONDS, broker_errors
from shared.jetstream.topology import JOBS, JOBS_SUBJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

#: The broker's code for "the last sequence is not the one you expect".
_WRONG_SEQUENCE: Final = 10071
#: Records a page of a scan, and seconds that may pass without one.
_PAGE: Final = 500
_PAGE_SECONDS: Final = 5.0
#: The statuses that end a page: that was all, and there is none.
_ENDS: Final = frozenset({"204", "404"})
_DIRECT_GET: Final = f"$JS.API.DIRECT.GET.{JOBS}"
#: A batch's key begins so; a job's is its id, which has no dot.
BATCHES: Final = "batch."
#: How long the marker of a removed record stays: live clients that were away learn of it, and a
#: submission that comes again is known for what it is.
MARKER_SECONDS: Final = 24 * 3600
#: Header of a marker: the hash of the submission that the removed job began with.
REQUEST: Final = "Stembus-Request"


class Stored(NamedTuple):
    """A job's record and the revision it has in the bucket; no job where it was removed."""

    job_id: str
    revision: int
    job: Job | None
    #: Of a removed job that must not be made anew: the hash of its submission.
    request: str = ""


class StoredBatch(NamedTuple):
    """The same of a batch."""

    batch_id: str
    revision: int
    batch: Batch | None


class ConflictError(Exception):
    """The record has another revision: somebody wrote in between."""


class _BatchRequest(msgspec.Struct, omit_defaults=True):
    batch: int
    seq: int
    next_by_subj: str


class _Pages:
    """Pages of the bucket, each asked for by one request and answered by many messages.

    They are gathered by a callback: waiting for each message by itself takes three times as long.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._inbox: str = nc.new_inbox()
        self._page: list[Msg] = []
        self._news = asyncio.Event()
        #: The status that ended the page; none yet: more comes.
        self._status = ""

    async def __aenter__(self) -> Self:
        with broker_errors():
            self._subscription = await self._nc.subscribe(self._inbox, cb=self._on_message)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._subscription.unsubscribe()

    async def read(self, after: int) -> list[Msg]:
        """The next records after a revision; none at the end."""
        self._page, self._status = [], ""
        request = _BatchRequest(_PAGE, after + 1, f"{JOBS_SUBJECT}>")
        with broker_errors():
            await self._nc.publish(_DIRECT_GET, encode(request), reply=self._inbox)
            while not self._status:
                self._news.clear()
                async with asyncio.timeout(_PAGE_SECONDS):
                    await self._news.wait()
        if self._status not in _ENDS:
            message = f"the bucket can't be read: status {self._status}"
            raise ConnectionError(message)
        return self._page

    async def _on_message(self, message: Msg) -> None:
        self._status = (message.headers or {}).get("Status", "")
        if not self._status:
            self._page.append(message)
        self._news.set()


class JobStore:
    """The records of jobs and batches in a JetStream key-value bucket, read by direct get."""

    def __init__(self, nc: Client, log: FilteringBoundLogger | None = None) -> None:
        self._nc = nc
        self._log = log
        self._js: JetStreamContext = nc.jetstream(timeout=PUBLISH_SECONDS)
        self._jobs: Decoder[Job] = Decoder(Job)
        self._batches: Decoder[Batch] = Decoder(Batch)

    async def load(self, job_id: str) -> Stored | None:
        """The newest record, or None if there never was one.  ConnectionError if unknown."""
        message = await self._last(token(job_id))
        if message is None:
            return None
        return self._stored(job_id, int(message.seq or 0), message.data, message.headers)

    async def load_batch(self, batch_id: str) -> StoredBatch | None:
        """The same of a batch."""
        message = await self._last(BATCHES + token(batch_id))
        if message is None:
            return None
        batch = self._batches.decode(message.data) if message.data else None
        return StoredBatch(batch_id, int(message.seq or 0), batch)

    async def ordering(self, work: WorkBase) -> Job | Batch | None:
        """The record that ``work`` was ordered for, as it is now; None if there is none."""
        if isinstance(work, ExpandWork):
            found = await self.load_batch(work.job_id)
            return found.batch if found else None
        stored = await self.load(work.job_id)
        return stored.job if stored else None

    async def write(self, job: Job, revision: int) -> int:
        """Replace revision ``revision`` (0: there is none) of a record; the new revision.

        ``ConflictError`` if it has another one by now.  A write that took effect but whose
        confirmation was lost may be repeated: it is recognized.
        """
        return await self._put(token(job.id), encode(job), revision, {})

    async def write_batch(self, batch: Batch, revision: int) -> int:
        """The same of a batch."""
        return await self._put(BATCHES + token(batch.id), encode(batch), revision, {})

    async def remove(self, job_id: str, revision: int, request: str = "") -> int:
        """Replace the record by a marker that stays for a day; the marker's revision.

        ``request``, if given, says which submission must not make the job anew meanwhile.
        """
        return await self._put(token(job_id), b"", revision, _marker(request))

    async def remove_batch(self, batch_id: str, revision: int) -> int:
        """The same of a batch."""
        return await self._put(BATCHES + token(batch_id), b"", revision, _marker(""))

    async def scan(
        self, after: int = 0, *, strict: bool = False
    ) -> AsyncIterator[Stored | StoredBatch]:
        """Every record whose newest revision is higher than ``after``, by revision.

        One that can't be read, being of another version, is left out; or, if ``strict``, raises
        ``UndecodableError``: for who must not overlook one.

        Reads in pages straight from the bucket: no consumer, which a service may not create.
        """
        async with _Pages(self._nc) as pages:
            while page := await pages.read(after):
                for message in page:
                    headers = message.headers or {}
                    after = int(headers["Nats-Sequence"])
                    key = headers["Nats-Subject"].removeprefix(JOBS_SUBJECT)
                    try:
                        yield self.read(key, after, message.data, headers)
                    except UndecodableError as exc:
                        # One record of another version must not keep all others from being read.
                        if strict:
                            raise
                        if self._log is not None:
                            self._log.error("undecodable record", key=key, reason=str(exc))

    def read(
        self, key: str, revision: int, data: bytes, headers: Mapping[str, str] | None
    ) -> Stored | StoredBatch:
        """The record in a message of the bucket; ``UndecodableError`` if it can't be read."""
        if key.startswith(BATCHES):
            batch = self._batches.decode(data) if data else None
            return StoredBatch(key.removeprefix(BATCHES), revision, batch)
        return self._stored(key, revision, data, headers)

    def _stored(
        self, job_id: str, revision: int, data: bytes | None, headers: Mapping[str, str] | None
    ) -> Stored:
        if data:
            return Stored(job_id, revision, self._jobs.decode(data))
        return Stored(job_id, revision, None, (headers or {}).get(REQUEST, ""))

    async def _last(self, key: str) -> Msg | None:
        try:
            with broker_errors():
                return await self._js.get_last_msg(JOBS, JOBS_SUBJECT + key, direct=True)
        except nats.js.errors.NotFoundError:
            return None

    async def _put(self, key: str, body: bytes, revision: int, more: dict[str, str]) -> int:
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision), **more}
        try:
            with broker_errors():
                ack = await self._js.publish(JOBS_SUBJECT + key, body, headers=headers)
        except nats.js.errors.APIError as exc:
            if exc.err_code != _WRONG_SEQUENCE:
                raise ConnectionError(str(exc)) from exc
            last = await self._last(key)
            if last is not None and (last.data or b"") == body:
                return int(last.seq or 0)
            raise ConflictError(key) from exc
        return int(ack.seq)


def _marker(request: str) -> dict[str, str]:
    headers = {"KV-Operation": "DEL", "Nats-TTL": f"{MARKER_SECONDS}s"}
    return headers | ({REQUEST: request} if request else {})
