"""The read model: the newest snapshot of every job and batch, rebuilt whenever need be.

Each call takes well under a millisecond; it runs on the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from services.gateway.cursors import searchable
from services.gateway.schema import micros, transaction
from shared.contracts.batch import BatchSnapshot, batch_snapshot
from shared.contracts.codec import Decoder, encode
from shared.contracts.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job

#: Characters of a title or an artist that are searched: they come from outside.
_MAX_NAME: Final = 500
JOB: Final = "job"
BATCH: Final = "batch"


class Row(NamedTuple):
    """A job as it is stored here."""

    revision: int
    snapshot: Snapshot


class BatchRow(NamedTuple):
    """A batch as it is stored here."""

    revision: int
    snapshot: BatchSnapshot
    #: How many of its jobs have been made.
    submitted: int


class Mark(NamedTuple):
    """That something has changed."""

    revision: int
    #: ``job`` or ``batch``.
    kind: str
    id: str
    #: Whether it was removed.
    gone: bool = False


class Projection:
    """What is known of jobs and batches, by id and by revision."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._jobs: Decoder[Snapshot] = Decoder(Snapshot)
        self._batches: Decoder[BatchSnapshot] = Decoder(BatchSnapshot)
        self._revision = 0
        self._documents = 0

    @property
    def revision(self) -> int:
        """The newest revision it knows of, removals included."""
        return self._revision

    def at_once(self) -> AbstractContextManager[None]:
        """Many writes as one, which is quicker; no awaiting within."""
        return transaction(self._db)

    def store(self, revision: int, job: Job) -> Snapshot | None:
        """Take in a record; None if it is older than what is known, else what clients may know."""
        self._revision = max(self._revision, revision)
        if self._removed_since(JOB, job.id, revision):
            return None
        known = self._db.execute(
            "select n, revision, text from jobs where id = ?", (job.id,)
        ).fetchone()
        if known and known[1] >= revision:
            return None
        seen = snapshot(job)
        text = text_of(seen)
        with transaction(self._db):
            self._db.execute("delete from gone where kind = ? and id = ?", (JOB, job.id))
            number = known[0] if known else self._next_document()
            self._write(number, revision, job, text, known=bool(known))
            self._db.execute(
                "replace into snapshots (n, snapshot) values (?, ?)", (number, encode(seen))
            )
            if known is None or known[2] != text:
                self._db.execute("insert or ignore into unindexed (n) values (?)", (number,))
        return seen

    def _write(self, number: int, revision: int, job: Job, text: str, *, known: bool) -> None:
        begun = job.resumed_at or job.started_at
        ended = job.finished_at if job.status.terminal else None
        waited = _seconds(job.queued_at, begun)
        values = {
            "created": micros(job.created_at),
            "id": job.id,
            "n": number,
            "revision": revision,
            "status": job.status.value,
            "owner": job.terms.owner,
            "batch": job.batch,
            "updated": micros(job.updated_at),
            "held": job.held_at is not None,
            "progress": job.progress,
            "queued": micros(job.queued_at or job.created_at),
            "finished": micros(ended) if ended else None,
            "waited": waited,
            "ran": _seconds(begun, ended),
            "code": job.error.code.value if job.error else None,
            "text": text,
        }
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        if known:
            sql = f"update jobs set ({names}) = ({places}) where id = :id"  # noqa: S608 - our own names
        else:
            sql = f"insert into jobs ({names}) values ({places})"  # noqa: S608 - our own names
        self._db.execute(sql, values)

    def _next_document(self) -> int:
        self._documents += 1
        return self._documents

    def advance(self, job_id: str, progress: float) -> None:
        """Take in what ticks have told, for the sum over a batch."""
        self._db.execute("update jobs set progress = ? where id = ?", (progress, job_id))

    def remove(self, revision: int, job_id: str, now: datetime) -> bool:
        """Take in a removal; whether something newer is not known."""
        self._revision = max(self._revision, revision)
        known = self._db.execute("select n, revision from jobs where id = ?", (job_id,)).fetchone()
        if known and known[1] > revision:
            return False
        with transaction(self._db):
            if known:
                self._db.execute("delete from jobs where id = ?", (job_id,))
                self._db.execute("delete from snapshots where n = ?", (known[0],))
                self._db.execute("insert or ignore into unindexed (n) values (?)", (known[0],))
            return self._note_removal(Mark(revision, JOB, job_id, gone=True), now)

    def store_batch(self, revision: int, batch: Batch) -> bool | None:
        """Take in a batch; None if it is older than what is known.

        True if clients see a difference, apart from when it was changed.
        """
        self._revision = max(self._revision, revision)
        known = self.batch(batch.id)
        if self._removed_since(BATCH, batch.id, revision) or (known and known.revision >= revision):
            return None
        seen = batch_snapshot(batch)
        with transaction(self._db):
            self._db.execute("delete from gone where kind = ? and id = ?", (BATCH, batch.id))
            self._db.execute(
                "replace into batches (id, revision, created, submitted, snapshot)"
                " values (?, ?, ?, ?, ?)",
                (batch.id, revision, micros(batch.created_at), batch.submitted, encode(seen)),
            )
        return known is None or seen != msgspec.structs.replace(
            known.snapshot, updated_at=seen.updated_at
        )

    def remove_batch(self, revision: int, batch_id: str, now: datetime) -> bool:
        """Take in a batch's removal; whether something newer is not known."""
        self._revision = max(self._revision, revision)
        known = self.batch(batch_id)
        if known and known.revision > revision:
            return False
        with transaction(self._db):
            self._db.execute("delete from batches where id = ?", (batch_id,))
            return self._note_removal(Mark(revision, BATCH, batch_id, gone=True), now)

    def _removed_since(self, kind: str, key: str, revision: int) -> bool:
        found = self._db.execute(
            "select 1 from gone where kind = ? and id = ? and revision > ?", (kind, key, revision)
        )
        return found.fetchone() is not None

    def _note_removal(self, gone: Mark, now: datetime) -> bool:
        changed = self._db.execute(
            "insert into gone (kind, id, revision, at) values (?, ?, ?, ?)"
            " on conflict (kind, id) do update set revision = excluded.revision, at = excluded.at"
            " where excluded.revision > gone.revision",
            (gone.kind, gone.id, gone.revision, micros(now)),
        )
        return changed.rowcount > 0

    def forget(self, before: datetime) -> None:
        """Forget removals that were noted earlier."""
        self._db.execute("delete from gone where at < ?", (micros(before),))

    def clear(self) -> None:
        """Forget everything: it is another bucket now."""
        with transaction(self._db):
            # Document numbers go on: what is in the index of old ones is dropped by and by.
            self._db.execute("insert or ignore into unindexed (n) select n from jobs")
            for table in ("jobs", "snapshots", "batches", "gone"):
                self._db.execute(f"delete from {table}")  # noqa: S608 - our own names
        self._revision = 0

    def get(self, job_id: str) -> Row | None:
        """One job."""
        found = self._db.execute(
            "select revision, snapshot from jobs join snapshots using (n) where id = ?", (job_id,)
        ).fetchone()
        return self._row(*found) if found else None

    def mark(self, job_id: str) -> Mark | None:
        """When a job was changed or removed last."""
        found = self._db.execute(
            "select revision, 'job', id, 0 from jobs where id = :id union all"
            " select revision, kind, id, 1 from gone where kind = 'job' and id = :id",
            {"id": job_id},
        ).fetchone()
        return _mark(*found) if found else None

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """The jobs of these documents, in their order."""
        found = (
            self._db.execute(
                "select revision, snapshot from jobs join snapshots using (n) where n = ?",
                (number,),
            ).fetchone()
            for number in numbers
        )
        return [self._row(*row) for row in found if row]

    def knows(self, kind: str, key: str) -> bool:
        """Whether there is or lately was such a job or batch."""
        table = {JOB: "jobs", BATCH: "batches"}[kind]
        found = self._db.execute(
            f"select 1 from {table} where id = ?"  # noqa: S608 - our own names
            " union all select 1 from gone where kind = ? and id = ?",
            (key, kind, key),
        )
        return found.fetchone() is not None

    def newest(self) -> tuple[str, int] | None:
        """The job that was written last, and its revision."""
        found: tuple[str, int] | None = self._db.execute(
            "select id, revision from jobs order by revision desc limit 1"
        ).fetchone()
        return found

    def batch(self, batch_id: str) -> BatchRow | None:
        """One batch."""
        found = self._db.execute(
            "select revision, snapshot, submitted from batches where id = ?", (batch_id,)
        ).fetchone()
        return self._batch_row(*found) if found else None

    def batches(self, limit: int, after: tuple[int, str] | None) -> list[BatchRow]:
        """Up to ``limit`` batches after that one (made when, id), newest first."""
        found = self._db.execute(
            "select revision, snapshot, submitted from batches where (created, id) < (?, ?)"
            " order by created desc, id desc limit ?",
            (*(after or (1 << 62, "")), limit),
        )
        return [self._batch_row(*row) for row in found]

    def changed_after(self, revision: int, limit: int) -> list[Mark]:
        """Up to ``limit`` changes with a higher revision, lowest revision first."""
        found = self._db.execute(
            "select revision, 'job', id, 0 from jobs where revision > :after"
            " union all select revision, 'batch', id, 0 from batches where revision > :after"
            " union all select revision, kind, id, 1 from gone where revision > :after"
            " order by 1 limit :limit",
            {"after": revision, "limit": limit},
        )
        return [_mark(*row) for row in found]

    def unfinished_after(self, revision: int, limit: int) -> list[Mark]:
        """The same of jobs that have not ended."""
        found = self._db.execute(
            "select revision, 'job', id, 0 from jobs where revision > ?"
            " and status in ('scheduled', 'pending', 'processing') order by revision limit ?",
            (revision, limit),
        )
        return [_mark(*row) for row in found]

    def _row(self, revision: int, body: bytes) -> Row:
        return Row(revision, self._jobs.decode(body))

    def _batch_row(self, revision: int, body: bytes, submitted: int) -> BatchRow:
        return BatchRow(revision, self._batches.decode(body), submitted)


def text_of(seen: Snapshot) -> str:
    """What of a job is searched, a line each.

    Two more characters at the end: so each character of it begins a group of three.
    """
    about = seen.metadata
    names = (about.title or "", about.artist or "") if about else ("", "")
    parts = (*(name[:_MAX_NAME] for name in names), seen.source.url or "", seen.id)
    return searchable("\n".join(parts)) + "\n\n"


def _mark(revision: int, kind: str, key: str, gone: int) -> Mark:
    return Mark(revision, kind, key, gone=bool(gone))


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    if begin is None or end is None or end < begin:
        return None
    return (end - begin).total_seconds()
