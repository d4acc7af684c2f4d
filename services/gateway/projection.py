"""The read model: the newest snapshot of every job, in SQLite, rebuilt whenever need be.

Its file is a cache: it is thrown away at start and filled from the bucket, so it is not
synced to the disk.  Each call takes well under a millisecond; it runs on the event loop.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from services.gateway.core import Cursor
from shared.contracts.codec import Decoder, encode
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA: Final = """
create table jobs (
    id text primary key,
    revision integer not null,
    status text not null,
    created_at text not null,
    snapshot blob not null
) without rowid;
create unique index jobs_by_revision on jobs (revision);
create index jobs_by_age on jobs (created_at desc, id desc);
create index jobs_by_status on jobs (status, created_at desc, id desc);
"""


class Row(NamedTuple):
    """A job as it is stored here."""

    revision: int
    snapshot: Snapshot


def age_of(snapshot: Snapshot) -> str:
    """When it was created, in a form that sorts."""
    return snapshot.created_at.isoformat(timespec="microseconds")


class Projection:
    """Snapshots by id, by age and by revision."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode = off; pragma synchronous = off;" + _SCHEMA)
        # Nobody else needs it: without a name it goes away with this process, however that ends.
        path.unlink()
        self._decoder: Decoder[Snapshot] = Decoder(Snapshot)
        self._revision = 0

    @property
    def revision(self) -> int:
        """The newest revision it knows of, deletions included."""
        return self._revision

    def store(self, revision: int, snapshot: Snapshot) -> bool:
        """Take in a snapshot; False if it is older than what is known."""
        self._revision = max(self._revision, revision)
        changed = self._db.execute(
            "insert into jobs (id, revision, status, created_at, snapshot) values (?, ?, ?, ?, ?)"
            " on conflict (id) do update set revision = excluded.revision,"
            " status = excluded.status, created_at = excluded.created_at,"
            " snapshot = excluded.snapshot where excluded.revision > jobs.revision",
            (
                snapshot.id,
                revision,
                snapshot.status.value,
                age_of(snapshot),
                encode(snapshot),
            ),
        )
        return changed.rowcount > 0

    def remove(self, revision: int, job_id: str) -> None:
        """Take in a deletion."""
        self._revision = max(self._revision, revision)
        self._db.execute("delete from jobs where id = ? and revision < ?", (job_id, revision))

    def get(self, job_id: str) -> Row | None:
        """One job."""
        found = self._db.execute(
            "select revision, snapshot from jobs where id = ?", (job_id,)
        ).fetchone()
        return self._row(found) if found else None

    def page(self, limit: int, cursor: Cursor | None, status: str | None) -> list[Row]:
        """Up to ``limit`` jobs after ``cursor``, newest first, of one status or of all."""
        conditions, values = ["1"], list[str | int]()
        if cursor:
            conditions.append("(created_at, id) < (?, ?)")
            values += cursor
        if status:
            conditions.append("status = ?")
            values.append(status)
        found = self._db.execute(
            f"select revision, snapshot from jobs where {' and '.join(conditions)}"  # noqa: S608 - the conditions are literals
            " order by created_at desc, id desc limit ?",
            (*values, limit),
        )
        return [self._row(row) for row in found]

    def changed_after(self, revision: int, limit: int) -> list[Row]:
        """Up to ``limit`` jobs with a higher revision, lowest revision first."""
        found = self._db.execute(
            "select revision, snapshot from jobs where revision > ? order by revision limit ?",
            (revision, limit),
        )
        return [self._row(row) for row in found]

    def unfinished_after(self, revision: int, limit: int) -> list[Row]:
        """The same of jobs that have not ended."""
        found = self._db.execute(
            "select revision, snapshot from jobs where revision > ?"
            " and status in ('scheduled', 'pending', 'processing') order by revision limit ?",
            (revision, limit),
        )
        return [self._row(row) for row in found]

    def _row(self, found: tuple[int, bytes]) -> Row:
        revision, snapshot = found
        return Row(revision, self._decoder.decode(snapshot))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
