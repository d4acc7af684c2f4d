"""The records: those of unfinished jobs at hand, of finished ones what matters, all in the bucket.

What is at hand is a cache: every write is a compare-and-set, and a conflict means reading again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from services.scheduler.ledger import Ledger
from shared.contracts.batch import Batch, BatchStatus
from shared.jetstream.store import ConflictError, Stored, StoredBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from services.scheduler.archive import Archive
    from shared.contracts.job import Job


class Store(Protocol):
    """The bucket, with writes that are compare-and-set."""

    async def load(self, job_id: str) -> Stored | None:
        """The newest record of a job."""

    async def load_batch(self, batch_id: str) -> StoredBatch | None:
        """The newest record of a batch."""

    async def write(self, job: Job, revision: int) -> int:
        """Replace revision ``revision`` of it; ``ConflictError`` if it is another by now."""

    async def write_batch(self, batch: Batch, revision: int) -> int:
        """The same of a batch."""

    async def remove(self, job_id: str, revision: int, request: str = "") -> int:
        """Replace it by a marker."""

    async def remove_batch(self, batch_id: str, revision: int) -> int:
        """The same of a batch."""

    def scan(self, after: int = 0) -> AsyncIterator[Stored | StoredBatch]:
        """Every record, by revision."""


class Records:
    """What the scheduler knows, and the only way in which it writes."""

    def __init__(self, *, store: Store, ledger: Ledger, archive: Archive) -> None:
        self._store = store
        self._archive = archive
        self.ledger = ledger
        #: Batches that have not come to rest: their playlist is read, or an errand is on.
        self._batches: dict[str, tuple[int, Batch]] = {}
        self._revision = 0

    @property
    def archive(self) -> Archive:
        """What has ended."""
        return self._archive

    def restless(self) -> Iterator[Batch]:
        """Batches with something to be done."""
        return (batch for _, batch in self._batches.values())

    @property
    def expanding(self) -> int:
        """Batches whose songs are not known yet."""
        return sum(batch.status is BatchStatus.EXPANDING for batch in self.restless())

    def forget(self) -> None:
        """Somebody else may have written: what is at hand is worth nothing."""
        self.ledger.clear()
        self._archive.clear()
        self._batches.clear()
        self._revision = 0

    async def catch_up(self) -> None:
        """Read what was written since the last time."""
        with self._archive.filling():
            async for stored in self._store.scan(self._revision):
                if isinstance(stored, StoredBatch):
                    self._take_batch(stored.batch_id, stored.revision, stored.batch)
                else:
                    self._take(stored.job_id, stored.revision, stored.job)

    async def job(self, job_id: str, *, anew: bool = False) -> Stored:
        """A job's record, ``anew`` from the bucket; at revision 0 where there never was one."""
        known = None if anew else self.ledger.get(job_id)
        if known is not None:
            return Stored(job_id, *known)
        stored = await self._store.load(job_id) or Stored(job_id, 0, None)
        if stored.job is None:
            self.ledger.drop(job_id)
        else:
            self.ledger.put(stored.job, stored.revision)
        return stored

    async def batch(self, batch_id: str, *, anew: bool = False) -> StoredBatch:
        """A batch's record, ``anew`` from the bucket; at revision 0 where there never was one."""
        if batch_id in self._batches and not anew:
            return StoredBatch(batch_id, *self._batches[batch_id])
        stored = await self._store.load_batch(batch_id) or StoredBatch(batch_id, 0, None)
        self._batches.pop(batch_id, None)
        if stored.batch is not None and _is_restless(stored.batch):
            self._batches[batch_id] = (stored.revision, stored.batch)
        return stored

    async def write(self, job: Job, revision: int) -> None:
        """Store a job; on ``ConflictError`` it is read anew the next time."""
        try:
            self._take(job.id, await self._store.write(job, revision), job)
        except ConflictError:
            self.ledger.drop(job.id)
            raise

    async def vouch(self, job: Job) -> None:
        """Write a job as it is; ``ConflictError`` if it is not so any more.

        Whoever was about to remove it, and does not know that another is being given its result,
        has to read it again.
        """
        stored = await self._store.load(job.id)
        if stored is None or stored.job != job:
            raise ConflictError(job.id)
        await self.write(job, stored.revision)

    async def write_batch(self, batch: Batch, revision: int) -> None:
        """The same of a batch."""
        try:
            self._take_batch(batch.id, await self._store.write_batch(batch, revision), batch)
        except ConflictError:
            self._batches.pop(batch.id, None)
            raise

    async def remove(self, job_id: str, revision: int, request: str) -> None:
        """Remove a job's record."""
        self._take(job_id, await self._store.remove(job_id, revision, request), None)

    async def remove_batch(self, batch_id: str) -> None:
        """Remove a batch's record."""
        stored = await self.batch(batch_id)
        if stored.batch is None:
            self._archive.drop_batch(batch_id)
            return
        with suppress(ConflictError):  # somebody has just changed it: it is not over
            marker = await self._store.remove_batch(batch_id, stored.revision)
            self._take_batch(batch_id, marker, None)

    def shares(self, job: Job) -> tuple[bool, bool]:
        """Whether another job has the same track, and the same result or may come to it."""
        if job.track is None:
            return False, False
        track, result = self._archive.shares(job)
        active = any(
            other.track is not None and other.track.id == job.track.id and other.id != job.id
            for other in self.ledger
        )
        return track or active, result or active

    def _take(self, job_id: str, revision: int, job: Job | None) -> None:
        self._revision = max(self._revision, revision)
        if job is None:
            self.ledger.drop(job_id)
            self._archive.drop(job_id)
            return
        self.ledger.put(job, revision)
        self._archive.put(job)

    def _take_batch(self, batch_id: str, revision: int, batch: Batch | None) -> None:
        self._revision = max(self._revision, revision)
        self._batches.pop(batch_id, None)
        if batch is None:
            self._archive.drop_batch(batch_id)
            return
        self._archive.put_batch(batch)
        if _is_restless(batch):
            self._batches[batch_id] = (revision, batch)


def _is_restless(batch: Batch) -> bool:
    return batch.errand is not None or batch.status is BatchStatus.EXPANDING
