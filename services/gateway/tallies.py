"""Counts over the read model: of a batch's jobs, and for the statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from services.gateway.schema import micros
from shared.contracts.job import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime


#: Statuses that a job has ended with.
ENDED: Final = tuple(status for status in Status if status.terminal)


class Sum(NamedTuple):
    """A batch's jobs, as far as they have been made and not removed."""

    #: By status.
    counts: dict[str, int]
    #: Percents of all of them, added up.
    progress: float


class Tallies:
    """Each counts along an index."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def batch(self, batch_id: str) -> Sum:
        """How far a batch's jobs are."""
        found = self._db.execute(
            "select status, count(*), sum(progress) from jobs indexed by jobs_by_batch"
            " where batch = ? group by status",
            (batch_id,),
        ).fetchall()
        counts = {status: count for status, count, _ in found}
        return Sum(counts, sum(progress for _, _, progress in found))

    def by_status(self) -> dict[str, int]:
        """How many jobs of each status there are."""
        found = self._db.execute("select status, count(*) from jobs group by status")
        return dict(found.fetchall())

    def held(self) -> int:
        """How many jobs clients keep from being started."""
        return self._number("select count(*) from jobs where held = 1")

    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        return self._number(
            "select count(*) from jobs indexed by jobs_waiting"
            " where status = 'pending' and held = 0"
        )

    def queued_first(self) -> int | None:
        """Since when the job waits that has waited longest, in microseconds."""
        found: tuple[int | None] = self._db.execute(
            "select min(queued) from jobs indexed by jobs_waiting"
            " where status = 'pending' and held = 0"
        ).fetchone()
        return found[0]

    def submitted(self, since: datetime) -> int:
        """How many jobs have been taken in."""
        return sum(self._since("jobs_by_status_created", "created", since, set(Status)).values())

    def ended(self, since: datetime) -> dict[str, int]:
        """How many jobs have ended, by status."""
        return self._since("jobs_by_end", "finished", since, ENDED)

    def _since(
        self, index: str, column: str, since: datetime, statuses: Iterable[Status]
    ) -> dict[str, int]:
        """Of each status a stretch of the index: quicker than to group one that holds all."""
        sql = f"select count(*) from jobs indexed by {index} where status = ? and {column} >= ?"  # noqa: S608 - literals
        return {status: self._number(sql, status, micros(since)) for status in statuses}

    def failures(self, since: datetime) -> dict[str, int]:
        """What jobs have failed of, the most frequent first."""
        found = self._db.execute(
            "select code, count(*) from jobs indexed by jobs_by_end"
            " where status = 'failed' and finished >= ? and code is not null"
            " group by code order by 2 desc, 1",
            (micros(since),),
        )
        return dict(found.fetchall())

    def durations(self, since: datetime, limit: int) -> list[tuple[float | None, float | None]]:
        """Seconds that the newest jobs that ended have waited, and have taken."""
        one = (
            "select finished, waited, ran from jobs indexed by jobs_by_end"
            " where status = '{}' and finished >= :since"
        )
        each = " union all ".join(one.format(status) for status in ENDED)
        found = self._db.execute(
            f"{each} order by finished desc limit :limit", {"since": micros(since), "limit": limit}
        )
        return [(waited, ran) for _, waited, ran in found]

    def _number(self, sql: str, *values: str | int) -> int:
        found: tuple[int] = self._db.execute(sql, values).fetchone()
        return found[0]
