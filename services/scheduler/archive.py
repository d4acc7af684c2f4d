"""What has ended, as far as it matters: how old it is, how large, what it shares and can give.

In SQLite on the disk, so that memory does not grow with the number of finished jobs.  A cache of
the bucket: it is thrown away at start and filled again.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from services.scheduler.wishes import source_key, wish_of
from shared.contracts.job import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job

_SCHEMA: Final = """
pragma journal_mode = off;
pragma synchronous = off;
pragma locking_mode = exclusive;
create table jobs (
    id text primary key, ended real not null, batch text, bytes integer not null,
    track text, result text, wish text, source text
) without rowid;
create index jobs_by_end on jobs (ended);
create index jobs_by_batch on jobs (batch);
create index jobs_by_result on jobs (result, ended) where result is not null;
create index jobs_by_wish on jobs (wish, ended) where wish is not null;
create index jobs_by_source on jobs (source, ended) where source is not null;
create table files (
    name text primary key, bytes integer not null, jobs integer not null
) without rowid;
create table batches (
    id text primary key, updated real not null, songs integer not null
) without rowid;
"""


class Archive:
    """Finished jobs by age, track, result and batch; and the batches."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        # Nobody else needs it: without a name it goes away with this process, however that ends.
        path.unlink()
        self._bytes = 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of all tracks and results, each counted once."""
        return self._bytes

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Take in much at once: a tenth of the time."""
        self._db.execute("begin")
        try:
            yield
        finally:
            self._db.execute("commit")

    def put(self, job: Job) -> None:
        """Take in a job that has ended, or let go of one that goes on."""
        self.drop(job.id)
        if not job.status.terminal:
            return
        track, result = _names(job)
        sizes = {
            track: job.track.stored_bytes if job.track else 0,
            result: sum(stem.bytes for stem in job.result.stems) if job.result else 0,
        }
        ended = (job.finished_at or job.updated_at).timestamp()
        self._db.execute(
            "insert into jobs values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job.id, ended, job.batch, sum(sizes.values()), track, result),
                wish_of(job) if job.status is Status.COMPLETED else None,
                source_key(job.source) if job.track is not None else None,
            ),
        )
        for name, size in sizes.items():
            if name is None:
                continue
            (jobs,) = self._db.execute(
                "insert into files values (?, ?, 1) on conflict do update set jobs = jobs + 1"
                " returning jobs",
                (name, size),
            ).fetchone()
            self._bytes += size if jobs == 1 else 0

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        found = self._db.execute(
            "delete from jobs where id = ? returning track, result", (job_id,)
        ).fetchone()
        for name in filter(None, found or ()):
            size, jobs = self._db.execute(
                "update files set jobs = jobs - 1 where name = ? returning bytes, jobs", (name,)
            ).fetchone()
            if not jobs:
                self._db.execute("delete from files where name = ?", (name,))
                self._bytes -= size

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
        self._db.executescript("delete from jobs; delete from files; delete from batches;")
        self._bytes = 0

    def shares(self, job: Job) -> tuple[bool, bool]:
        """Whether another job that has ended has the same track, the same result."""
        track, result = _names(job)
        own = self._db.execute("select track, result from jobs where id = ?", (job.id,)).fetchone()
        return self._shared(track, own or ()), self._shared(result, own or ())

    def _shared(self, name: str | None, own: tuple[str, ...]) -> bool:
        if name is None:
            return False
        found = self._db.execute("select jobs from files where name = ?", (name,)).fetchone()
        return found is not None and found[0] > (name in own)

    def oldest(self, limit: int, before: datetime | None = None) -> list[tuple[str, int]]:
        """Ids of the jobs that ended first (``before`` a time), and the bytes each names."""
        found = self._db.execute(
            "select id, bytes from jobs where ended < ? order by ended, id limit ?",
            (before.timestamp() if before else float("inf"), limit),
        )
        return [(job_id, int(size)) for job_id, size in found]

    def made(self, wish: str, limit: int) -> list[str]:
        """Ids of completed jobs with a wish, the newest first."""
        return self._newest("wish", wish, limit)

    def with_result(self, result: str, limit: int) -> list[str]:
        """Ids of completed jobs with a result, the newest first."""
        return self._newest("result", f"r.{result}", limit)

    def fetched(self, source: str, limit: int) -> list[str]:
        """Ids of jobs that have ended and have the track of a source, the newest first."""
        return self._newest("source", source, limit)

    def _newest(self, column: str, key: str, limit: int) -> list[str]:
        found = self._db.execute(
            f"select id from jobs where {column} = ? order by ended desc limit ?",  # noqa: S608 - one of three of ours
            (key, limit),
        )
        return [job_id for (job_id,) in found]

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


def _names(job: Job) -> tuple[str | None, str | None]:
    """The track and the result of a job, each under a name of its own."""
    track = f"t.{job.track.id}" if job.track else None
    return track, f"r.{job.result.id}" if job.result else None
