"""Decides on a message about a job: reads, asks the rules, stores; again on a conflict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Changed,
    Circumstances,
    Decision,
    Expired,
    Others,
    Outcome,
    Refusal,
    Removed,
    Repeated,
    RetryLimits,
    Stale,
    Stimulus,
    TimeLimits,
)
from services.scheduler.progress import Speeds, expected
from shared.contracts.commands import DeleteJob, SubmitJob
from shared.contracts.facts import Finalized
from shared.contracts.job import Status
from shared.contracts.unit import UnitState
from shared.contracts.work import WorkBase
from shared.jetstream.store import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.dispatcher import Dispatcher
    from services.scheduler.fleet import Fleet
    from services.scheduler.precedents import Precedents
    from services.scheduler.records import Records
    from shared.contracts.job import Job
    from shared.jetstream.store import Stored

#: Attempts of one write; more than one conflict in a row means two owners are fighting.
WRITES: Final = 5


class LeaseLostError(Exception):
    """Somebody else may be the owner now: nothing may be decided any more."""


class LifeLimits(Struct, frozen=True, kw_only=True):
    """What the rules of a job's life are bound by."""

    retries: RetryLimits = RetryLimits()
    times: TimeLimits = TimeLimits()


class Decider:
    """The one way in which a job changes."""

    def __init__(  # noqa: PLR0913 - all by keyword, from wiring alone
        self,
        *,
        records: Records,
        dispatcher: Dispatcher,
        fleet: Fleet,
        precedents: Precedents,
        may_act: Callable[[], bool],
        now: Callable[[], datetime],
        chance: Callable[[], float],
        limits: LifeLimits,
        log: FilteringBoundLogger,
    ) -> None:
        self._records = records
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._precedents = precedents
        self._may_act = may_act
        self._now = now
        self._chance = chance
        self._limits = limits
        self._log = log

    async def decide(self, message: Stimulus) -> Outcome:
        """What came of ``message``; it is stored when this returns."""
        conflicted = False
        for _ in range(WRITES):
            self.must_act()
            stored = await self._records.job(message.job_id, anew=conflicted)
            now = self._now()
            if stored.job is not None and not conflicted:
                self._dispatcher.heard(stored.job, message, now)
            others = await self._precedents.of(stored.job, message, now)
            outcome = advance(stored.job, message, self.circumstances(stored, message, now, others))
            if not conflicted and await self._is_outdated(outcome, stored, message):
                conflicted = True
                continue
            try:
                if isinstance(outcome, Changed) and (giver := giver_of(outcome.job, others)):
                    await self._records.vouch(giver)
                return await self._stored(outcome, stored, message, conflicted=conflicted)
            except ConflictError:
                self._log.warning("somebody else wrote", job_id=message.job_id)
                conflicted = True
        raise LeaseLostError

    def must_act(self) -> None:
        """``LeaseLostError`` unless this is the owner."""
        if not self._may_act():
            raise LeaseLostError

    def circumstances(
        self, stored: Stored, message: Stimulus, now: datetime, others: Others
    ) -> Circumstances:
        """What a decision on ``message`` depends on."""
        job, dispatcher = stored.job, self._dispatcher
        full = None
        if isinstance(message, SubmitJob):
            full = dispatcher.full(message.terms.owner, extra=self._records.expanding)
        forgotten = job if isinstance(message, (DeleteJob, Expired)) else None
        track, result = self._records.shares(forgotten) if forgotten else (False, False)
        return Circumstances(
            now=now,
            window=dispatcher.window(message.job_id, message),
            chance=self._chance(),
            retries=self._limits.retries,
            times=self._limits.times,
            full=full,
            paused_until=dispatcher.sites.paused_until(job, now) if job else None,
            track_shared=track,
            result_shared=result,
            others=others,
            removed=stored.request,
            # Higher than any attempt: each was a write of its own.
            floor=stored.revision if job is None else 0,
        )

    def speeds(self, job: Job) -> Speeds:
        """What is known of how fast ``job`` will go."""
        model = job.plan.model if job.plan else job.options.model
        return Speeds(
            separation=self._fleet.separation_speed(model),
            slots=max(1, self._dispatcher.capacity().separate_slots),
            ahead=self._dispatcher.ahead_of(job),
            finalization=self._fleet.finalization_speed,
        )

    async def _is_outdated(self, outcome: Outcome, stored: Stored, message: Stimulus) -> bool:
        """Whether a message is about to be dropped for what a record is no more.

        What is written is compared and set; what changes nothing has to be compared, too.
        """
        if not isinstance(outcome, (Stale, Refusal)) or isinstance(message, Decision):
            return False
        newest = await self._records.job(message.job_id, anew=True)
        return newest.revision != stored.revision

    async def _stored(
        self, outcome: Outcome, stored: Stored, message: Stimulus, *, conflicted: bool
    ) -> Outcome:
        match outcome:
            case Changed(job):
                if conflicted and stored.job is not None:
                    job = _with_what_stands(job, stored.job)
                job = self._estimated(job)
                await self._records.write(job, stored.revision)
                self._remember(job, message)
                return Changed(job)
            case Removed(job, _, request):
                await self._records.remove(job.id, stored.revision, request)
                self._log.info("removed", job_id=job.id)
            case Stale() if conflicted and stored.job is not None:
                # What somebody else wrote may never have been said.
                return Repeated(stored.job)
        return outcome

    def _remember(self, job: Job, message: Stimulus) -> None:
        self._dispatcher.changed(job, job.updated_at)
        if isinstance(message, Finalized) and job.track is not None:
            self._fleet.finalized(job.track.seconds, message.elapsed)
        self._log.info("decided", job_id=job.id, status=job.status, phase=job.phase)

    def _estimated(self, job: Job) -> Job:
        eta = expected(job, job.updated_at, job.progress, self.speeds(job))
        return job if eta == job.eta else replace(job, eta=eta)


def giver_of(job: Job, others: Others) -> Job | None:
    """The job whose result ``job`` has been given, if it has."""
    if job.status is not Status.COMPLETED:
        return None
    known = (others.made, others.leader)
    return next((one for one in known if one and one.result and one.result == job.result), None)


def _with_what_stands(job: Job, before: Job) -> Job:
    """``job`` with the orders of ``before`` that stand: who wrote them may never have said them."""
    if job.status is not Status.PROCESSING:
        return job
    kept = tuple(
        word
        for word in before.outbox
        if isinstance(word, WorkBase)
        and (unit := job.units.get(word.unit)) is not None
        and (unit.state, unit.attempt) == (UnitState.ORDERED, word.attempt)
        and word not in job.outbox
    )
    return replace(job, outbox=(*kept, *job.outbox))
