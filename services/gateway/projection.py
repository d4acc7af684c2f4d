"""The read model: the newest snapshot of every job and batch, rebuilt whenever need be.

Each call takes well under a millisecond; it runs on the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from services.gateway.columns import columns_of
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
        known = self._columns(job.id)
        if known and known["revision"] >= revision:
            return None
        seen = snapshot(job)
        columns = columns_of(job, seen)
        with transaction(self._db):
            if known is None:
                number = self._next_document()
                self._insert({**columns, "n": number, "revision": revision})
            else:
                number = known["n"]
                self._update(known, {**columns, "revision": revision})
            self._db.execute(
                "replace into snapshots (n, snapshot) values (?, ?)", (number, encode(seen))
            )
            if known is None or known["text"] != columns["text"]:
                self._db.execute("insert or ignore into unindexed (n) values (?)", (number,))
        return seen

    def _columns(self, job_id: str) -> dict[str, Any] | None:
        found = self._db.execute("select * from jobs where id = ?", (job_id,))
        if (row := found.fetchone()) is None:
            return None
        return dict(zip((column[0] for column in found.description), row, strict=True))

    def _insert(self, columns: dict[str, Any]) -> None:
        names, places = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        self._db.execute(f"insert into jobs ({names}) values ({places})", columns)  # noqa: S608 - our own names
        self._db.execute("delete from gone where kind = ? and id = ?", (JOB, columns["id"]))

    def _update(self, known: dict[str, Any], columns: dict[str, Any]) -> None:
        """Write what has changed: each index of a column that is named is written anew."""
        changed = [name for name, value in columns.items() if known[name] != value]
        sets = ", ".join(f"{name} = :{name}" for name in changed)
        self._db.execute(f"update jobs set {sets} where n = :n", {**columns, "n": known["n"]})  # noqa: S608 - our own names

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


def _mark(revision: int, kind: str, key: str, gone: int) -> Mark:
    return Mark(revision, kind, key, gone=bool(gone))
