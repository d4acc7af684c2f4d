"""The unfinished jobs, by what has to be asked of them again and again.

A cache of the bucket: every question is answered in about constant time, however many wait.
"""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.scheduler.dispatch import downloads
from services.scheduler.grants import Tally, tally
from services.scheduler.relations import Relations
from services.scheduler.rules.timing import times
from shared.contracts.job import Job, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.scheduler.decision import TimeLimits

#: A time that was told as due is told again after this long, should nothing have come of it.
AGAIN: Final = timedelta(seconds=1)
#: Timers without a record that are not worth tidying up.
_TIDY: Final = 1_000


class Ledger:
    """Records by id, each with its revision."""

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._records: dict[str, tuple[int, Job]] = {}
        #: Pending, not held, following nobody: those that can be started.
        self.waiting: dict[str, Job] = {}
        #: Those of them that need no download any more.
        self.resuming: dict[str, Job] = {}
        self.processing: dict[str, Job] = {}
        #: What each processing job wants of the separators.
        self.tallies: dict[str, Tally] = {}
        #: Jobs that have not been started, held and scheduled ones included, by owner.
        self._queued: Counter[str] = Counter()
        self._timers: list[tuple[datetime, str, int]] = []
        #: Who has to do with whom.
        self.relations = Relations()

    def __len__(self) -> int:
        """Number of unfinished jobs."""
        return len(self._records)

    def __iter__(self) -> Iterator[Job]:
        """All unfinished jobs."""
        return (job for _, job in self._records.values())

    @property
    def queued(self) -> int:
        """Jobs that have not been started."""
        return self._queued.total()

    def queued_of(self, owner: str) -> int:
        """The same of one owner."""
        return self._queued[owner]

    def owners(self) -> set[str]:
        """Who has unfinished jobs."""
        return {*self._queued, *(job.terms.owner for job in self.processing.values())}

    def get(self, job_id: str) -> tuple[int, Job] | None:
        """An unfinished job and its revision."""
        return self._records.get(job_id)

    def put(self, job: Job, revision: int) -> None:
        """Take in a record; one of a job that has ended is let go of."""
        self.drop(job.id)
        if job.status.terminal:
            return
        self._records[job.id] = (revision, job)
        self.relations.put(job)
        if job.status is Status.PROCESSING:
            self.processing[job.id] = job
            self.tallies[job.id] = tally(job)
        else:
            self._queued[job.terms.owner] += 1
            if job.status is Status.PENDING and job.held_at is None and job.follows is None:
                self.waiting[job.id] = job
                if not downloads(job):
                    self.resuming[job.id] = job
        if (first := min(times(job, self._limits), default=None)) is not None:
            heapq.heappush(self._timers, (first, job.id, revision))
            self._tidy()

    def drop(self, job_id: str) -> None:
        """Forget a job."""
        known = self._records.pop(job_id, None)
        if known is None:
            return
        self.relations.drop(job_id)
        self.waiting.pop(job_id, None)
        self.resuming.pop(job_id, None)
        self.tallies.pop(job_id, None)
        if self.processing.pop(job_id, None) is None:
            owner = known[1].terms.owner
            self._queued[owner] -= 1
            if not self._queued[owner]:
                del self._queued[owner]

    def clear(self) -> None:
        """Forget everything."""
        for job_id in tuple(self._records):
            self.drop(job_id)
        self._timers.clear()

    def forsaken(self) -> list[str]:
        """Ids of the jobs that follow in vain.

        Their leader is not at work any more, and won't be soon; or on something else.
        """
        return [
            job_id
            for leader in self.relations.leaders()
            for job_id in (
                self.relations.astray(leader)
                if leader in self.processing or leader in self.waiting
                else sorted(self.relations.followers(leader))
            )
        ]

    def next_time(self) -> datetime | None:
        """The next moment at which something is due."""
        while self._timers and not self._holds(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: datetime) -> list[str]:
        """Ids of the jobs for which something is due."""
        found = []
        while (first := self.next_time()) is not None and first <= now:
            _, job_id, revision = heapq.heappop(self._timers)
            heapq.heappush(self._timers, (now + AGAIN, job_id, revision))
            found.append(job_id)
        return found

    def _tidy(self) -> None:
        """Drop timers of records that are none any more, before they outnumber the others."""
        if len(self._timers) > 2 * len(self._records) + _TIDY:
            self._timers = [timer for timer in self._timers if self._holds(timer)]
            heapq.heapify(self._timers)

    def _holds(self, timer: tuple[datetime, str, int]) -> bool:
        """Whether a timer is of the record as it is."""
        known = self._records.get(timer[1])
        return known is not None and known[0] == timer[2]
