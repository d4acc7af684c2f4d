"""Which files nobody will ask for any more: those that no record names.

Candidates are collected first, and only then the records are read: who has begun to use a file
since has touched it, so that it is too young when it is its turn to go.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from shared.contracts.subjects import TOKEN
from shared.jetstream.store import Stored, StoredBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.blobs import BlobStore
    from shared.contracts.batch import Batch
    from shared.contracts.job import Job

UPLOADS: Final = "uploads"
TRACKS: Final = "tracks"
RESULTS: Final = "results"
WORK: Final = "work"


class Records(Protocol):
    """Reads all records."""

    def scan(self, after: int = 0, *, strict: bool = False) -> AsyncIterator[Stored | StoredBatch]:
        """Every record; if ``strict``, an ``UndecodableError`` for one that can't be read."""


class Ages(NamedTuple):
    """What was stored before is old; nothing is where that is None."""

    uploads: datetime
    orphans: datetime | None


class Candidates:
    """Ids of what is old, by kind; memory holds nothing else of it."""

    def __init__(self, ages: Ages) -> None:
        self._ages = ages
        self._ids: dict[str, set[str]] = {}
        #: Records that have been looked at.
        self.records = 0

    async def collect(self, blobs: BlobStore) -> None:
        """Look for what is old enough."""
        self._ids[UPLOADS] = await _old(blobs, UPLOADS, self._ages.uploads)
        for kind in (TRACKS, RESULTS, WORK):
            before = self._ages.orphans
            self._ids[kind] = set() if before is None else await _old(blobs, kind, before)

    async def spare(self, records: Records) -> None:
        """Take out whatever a record names."""
        async for record in records.scan(strict=True):
            self.records += 1
            match record:
                case Stored(job=job) if job is not None:
                    self._spare_job(job)
                case StoredBatch(batch=batch) if batch is not None:
                    self._spare_batch(batch)
                case _:
                    pass  # the marker of a removed one

    def of(self, kind: str) -> tuple[str, ...]:
        """Those that are left."""
        return tuple(sorted(self._ids[kind]))

    def _spare_job(self, job: Job) -> None:
        ended = (job.finished_at or job.updated_at) if job.status.terminal else None
        if job.track is not None:
            self._ids[TRACKS].discard(job.track.id)
        if job.result is not None:
            self._ids[RESULTS].discard(job.result.id)
        # What an ended one has computed was swept; a worker that came late may have left more.
        if ended is None or self._ages.orphans is None or ended >= self._ages.orphans:
            self._ids[WORK] -= {job.id, job.run_id}
            if job.legacy is not None:  # its heir has not taken it up yet
                self._ids[WORK].discard(job.legacy.run)
        # A failed or cancelled one can be retried; a completed one has its track.
        asked = job.result is None and (ended is None or ended >= self._ages.uploads)
        if asked and job.source.upload is not None:
            self._ids[UPLOADS].discard(job.source.upload)

    def _spare_batch(self, batch: Batch) -> None:
        """Its songs become jobs one after another: until then only it names their uploads."""
        if batch.errand is None and batch.updated_at < self._ages.uploads:
            return  # it was called off on the way
        for entry in batch.entries[batch.submitted :]:
            self._ids[UPLOADS].discard(entry.source.upload or "")


async def _old(blobs: BlobStore, kind: str, before: datetime) -> set[str]:
    """Ids under ``kind`` of which everything was stored before ``before``."""
    old: set[str] = set()
    young: set[str] = set()
    async for info in blobs.under(kind):
        name = info.key.removeprefix(f"{kind}/").partition("/")[0]
        if kind == UPLOADS:
            name = name.removesuffix(".json")
        if TOKEN.match(name):  # anything else is not ours
            (old if info.modified < before else young).add(name)
    return old - young


def ages(now: datetime, *, uploads: float, orphans: float) -> Ages:
    """Ages in seconds as times; 0 seconds of ``orphans``: none is."""
    before = now - timedelta(seconds=orphans) if orphans else None
    return Ages(now - timedelta(seconds=uploads), before)
