"""What has ended, as far as it matters: how old it is, how large, and what it shares.

In SQLite on the disk, so that memory does not grow with the number of finished jobs.  A cache of
the bucket: it is thrown away at start and filled again.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job

_SCHEMA: Final = """
create table jobs (
    id text primary key, ended real not null, batch text,
    track text, track_bytes integer not null, result text, result_bytes integer not null
) without rowid;
create index jobs_by_end on jobs (ended);
create index jobs_by_track on jobs (track);
create index jobs_by_result on jobs (result);
create index jobs_by_batch on jobs (batch);
create table batches (
    id text primary key, updated real not null, songs integer not null
) without rowid;
"""


class Archive:
    """Finished jobs by age, track, result and batch; and the batches."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode = off; pragma synchronous = off;" + _SCHEMA)
        # Nobody else needs it: without a name it goes away with this process, however that ends.
        path.unlink()

    def put(self, job: Job) -> None:
        """Take in a job that has ended, or let go of one that goes on."""
        if not job.status.terminal:
            self.drop(job.id)
            return
        ended = (job.finished_at or job.updated_at).timestamp()
        track, result = job.track, job.result
        self._db.execute(
            "insert or replace into jobs values (?, ?, ?, ?, ?, ?, ?)",
            (
                job.id,
                ended,
                job.batch,
                track.id if track else None,
                track.stored_bytes if track else 0,
                result.id if result else None,
                sum(stem.bytes for stem in result.stems) if result else 0,
            ),
        )

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        self._db.execute("delete from jobs where id = ?", (job_id,))

    def put_batch(self, batch: Batch) -> None:
        """Take in a batch."""
        self._db.execute(
            "insert or replace into batches values (?, ?, ?)",
            (batch.id, batch.updated_at.timestamp(), len(batch.entries)),
        )

    def drop_batch(self, batch_id: str) -> None:
        """Forget a batch."""
        self._db.execute("delete from batches where id = ?", (batch_id,))

    def clear(self) -> None:
        """Forget everything."""
        self._db.executescript("delete from jobs; delete from batches;")

    def names_track(self, track: str, but: str) -> bool:
        """Whether a job other than ``but`` has this track."""
        return self._any("select 1 from jobs where track = ? and id <> ? limit 1", track, but)

    def names_result(self, result: str, but: str) -> bool:
        """Whether a job other than ``but`` has this result."""
        return self._any("select 1 from jobs where result = ? and id <> ? limit 1", result, but)

    def stored_bytes(self) -> int:
        """Bytes of all tracks and results, each counted once."""
        (total,) = self._db.execute(
            "select (select coalesce(sum(size), 0) from (select max(track_bytes) as size from jobs"
            " where track is not null group by track)) + (select coalesce(sum(size), 0) from"
            " (select max(result_bytes) as size from jobs where result is not null"
            " group by result))"
        ).fetchone()
        return int(total)

    def oldest(self, limit: int, before: datetime | None = None) -> list[tuple[str, int]]:
        """Ids of the jobs that ended first (``before`` a time), and the bytes each names."""
        found = self._db.execute(
            "select id, track_bytes + result_bytes from jobs where ended < ? order by ended, id"
            " limit ?",
            (before.timestamp() if before else float("inf"), limit),
        )
        return [(job_id, int(size)) for job_id, size in found]

    def empty_batches(self, songs: datetime, none: datetime, limit: int) -> list[str]:
        """Batches of which no finished job is left: those that changed before ``songs``.

        Of a batch that never had any songs, before ``none``.
        """
        found = self._db.execute(
            "select id from batches where updated < iif(songs, ?, ?) and not exists"
            " (select 1 from jobs where jobs.batch = batches.id) limit ?",
            (songs.timestamp(), none.timestamp(), limit),
        )
        return [batch_id for (batch_id,) in found]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _any(self, query: str, *values: str) -> bool:
        return self._db.execute(query, values).fetchone() is not None
