"""What runs next: the pure choices, with what they remember from one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from services.scheduler.breaker import BreakerLimits, Sites
from services.scheduler.decision import Answered, Dispatched, Due, Granted, LeaderEnded
from services.scheduler.dispatch import (
    Capacity,
    Shares,
    choose,
    in_order,
    levelled,
    takes_download_slot,
)
from services.scheduler.grants import Passed, Tally, passed_over, tally, windows
from services.scheduler.pace import Pace
from services.scheduler.wishes import wish_of
from shared.contracts.facts import Downloaded, Failed, Prepared, Separated
from shared.contracts.job import Status
from shared.contracts.live import QUEUE_LISTED, Queue
from shared.contracts.problem import Problem
from shared.contracts.work import UNIT_SOURCE, SeparateWork, Stage
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from services.scheduler.decision import Stimulus
    from services.scheduler.fleet import Fleet
    from services.scheduler.ledger import Ledger
    from shared.contracts.job import Job


class QueueLimits(Struct, frozen=True, kw_only=True):
    """How many may wait, how many may run, how waiting counts."""

    #: Jobs that may be processing at once: bounds the temporary blobs on the disk.
    max_processing: int = 16
    #: Jobs that may wait, in all and of one owner.
    max_waiting: int = 10_000
    max_waiting_per_owner: int = 1_000
    #: Seconds of waiting that count as much as the next higher priority.
    ageing: float = 600.0


class Dispatcher:
    """Chooses from the ledger what the fleet can take."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        fleet: Fleet,
        steady: Callable[[], float],
        limits: QueueLimits,
        breakers: BreakerLimits,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._steady = steady
        self._limits = limits
        self.pace = Pace()
        self.sites = Sites(breakers)
        self._shares: Shares = {}
        #: How often each separating job was passed over since a chunk of its went out.
        self._passed: Passed = {}
        #: Wishes that have come true since it was looked last: others may have the same.
        self._made: set[str] = set()

    def begin(self) -> None:
        """Forget what is not known any more: somebody else was the owner."""
        self._shares = {}
        self._passed = {}
        self._made.clear()

    def decisions(self, now: datetime) -> list[Due | LeaderEnded | Answered | Dispatched | Granted]:
        """What there is to be told to jobs now."""
        due = [Due(job_id) for job_id in self._ledger.due(now)]
        told: list[LeaderEnded | Answered] = [
            *(LeaderEnded(job_id) for job_id in self._ledger.forsaken()),
            *self._answers(),
        ]
        # One of those who are told may be about to go on with what is finished, others need no
        # turn any more: nobody begins before that is known.
        starts = [] if told else self._starts(now)
        return [*due, *told, *starts, *self._grants()]

    def window(self, job_id: str, message: Stimulus) -> int:
        """How many chunks of a job may be out, when ``message`` has taken effect."""
        tallies = [
            _without(one, message) if one.job_id == job_id else one for one in self._tallies()
        ]
        return windows(tallies, self._slots(), self._passed).get(job_id, 0)

    def heard(self, job: Job, message: Stimulus, now: datetime) -> None:
        """Learn from a fact that is awaited how its site has answered."""
        if not isinstance(message, (Downloaded, Failed)) or message.unit != UNIT_SOURCE:
            return
        if job.awaits(message.unit, message.attempt):
            self.sites.learn(job, message, now)

    def changed(self, after: Job, now: datetime) -> None:
        """Remember what became of a job; the ledger has it already."""
        granted = sum(isinstance(word, SeparateWork) for word in after.outbox)
        if granted:
            self._passed = passed_over(self._passed, self._tallies(), after.id, granted)
        if after.status is Status.COMPLETED:
            self._made.add(wish_of(after))
        if after.status.terminal:
            began = after.resumed_at
            ran = (now - began).total_seconds() if began is not None else None
            self.pace.ended(self._steady(), ran)

    def ahead_of(self, job: Job) -> float:
        """Seconds of audio whose chunks go before those of ``job``: of jobs with less left."""
        mine = tally(job)
        return sum(
            one.seconds
            for one in self._tallies()
            if one.job_id != job.id and (one.level, one.seconds) < (mine.level, mine.seconds)
        )

    def room(self, owner: str, extra: int = 0) -> int:
        """Places that are free for an owner's jobs; ``extra`` are spoken for."""
        ledger, limits = self._ledger, self._limits
        whole = limits.max_waiting - ledger.queued
        return max(0, min(whole, limits.max_waiting_per_owner - ledger.queued_of(owner)) - extra)

    def full(self, owner: str, wanted: int = 1, extra: int = 0) -> Problem | None:
        """Why ``wanted`` more jobs of an owner can't be taken in; None if they can."""
        lacking = wanted - self.room(owner, extra)
        if lacking <= 0:
            return None
        whole = self._ledger.queued + extra + wanted > self._limits.max_waiting
        code = Code.QUEUE_FULL if whole else Code.QUEUE_OWNER_FULL
        most = self._limits.max_waiting if whole else self._limits.max_waiting_per_owner
        after = self.pace.wait_for(lacking, self._steady())
        return Problem.of(RetryableError(code, f"at most {most}", retry_after=after))

    def capacity(self) -> Capacity:
        """What the fleet can take now."""
        now = self._steady()
        return Capacity(
            download_slots=self._fleet.slots(Stage.DOWNLOAD, now),
            separate_slots=self._fleet.slots(Stage.SEPARATE, now),
            max_processing=self._limits.max_processing,
        )

    def queue(self, now: datetime) -> Queue:
        """The order of all turns, and what stands in the way."""
        waiting = self._ledger.waiting.values()
        shares = levelled(self._shares, self._ledger.owners())
        order = [job.id for job in in_order(waiting, shares, now, self._limits.ageing)]
        pauses = self.sites.pauses(now)
        hindered = (
            {
                job.id: Code.SOURCE_SITE_PAUSED
                for job in waiting
                if job.track is None and self.sites.paused_until(job, now)
            }
            if pauses
            else {}
        )
        listed = tuple(order[:QUEUE_LISTED])
        return Queue(
            at=now,
            order=listed,
            waiting=len(order),
            rate=self.pace.rate(self._steady()),
            run_seconds=self.pace.run_seconds,
            stalled=self._stalled(),
            absent=self._fleet.absent(self._steady()),
            hindered={job_id: hindered[job_id] for job_id in listed if job_id in hindered},
            pauses=pauses,
        )

    def _stalled(self) -> Code | None:
        now = self._steady()
        if self._fleet.slots(Stage.DOWNLOAD, now):
            return None
        return self._fleet.ailment(Stage.DOWNLOAD, now) or Code.SERVICE_NO_WORKERS

    def _answers(self) -> list[Answered]:
        """Jobs that need not wait for their turn: what they ask for has just been made.

        Told once: should it get lost, they learn it when their turn comes.
        """
        waiting = self._ledger.waiting
        answers = [
            Answered(job_id)
            for wish in sorted(self._made)
            for job_id in sorted(self._ledger.relations.with_wish(wish))
            if job_id in waiting and waiting[job_id].options.reuse
        ]
        self._made.clear()
        return answers

    def _starts(self, now: datetime) -> list[Dispatched]:
        processing = self._ledger.processing.values()
        downloading = [job for job in processing if takes_download_slot(job)]
        capacity = self.capacity()
        # Most of the time every download slot is taken: don't look through all who want one.
        full = len(downloading) >= capacity.download_slots
        chosen, self._shares = choose(
            (self._ledger.resuming if full else self._ledger.waiting).values(),
            processing,
            capacity=capacity,
            shares=levelled(self._shares, self._ledger.owners()),
            gate=self.sites.gate(downloading, now),
            now=now,
            ageing=self._limits.ageing,
        )
        return [Dispatched(job_id) for job_id in chosen]

    def _grants(self) -> list[Granted]:
        tallies = self._tallies()
        out = {one.job_id: one.out for one in tallies}
        allowed = windows(tallies, self._slots(), self._passed)
        return [Granted(job_id) for job_id in allowed if allowed[job_id] > out[job_id]]

    def _tallies(self) -> list[Tally]:
        return list(self._ledger.tallies.values())

    def _slots(self) -> int:
        """At least one: what is ordered while no separator is there waits for the first."""
        return max(1, self.capacity().separate_slots)


def _without(one: Tally, message: Stimulus) -> Tally:
    """The tally of a job as if the unit that ``message`` tells of were not out any more."""
    match message:
        case Separated():
            return one._replace(out=max(0, one.out - 1))
        case Prepared():
            return one._replace(other=0, idle=max(one.idle, _MANY))
        case _:
            return one


#: Chunks of a job whose plan is about to be known: more than any fleet has slots.
_MANY: Final = 1_000
