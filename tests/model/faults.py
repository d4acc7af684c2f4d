"""Faults to be planted: small mistakes in the scheduler, each of which breaks one promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from services.scheduler import batches as batches_module
from services.scheduler import deciding, dispatcher, grants, ledger, orders
from services.scheduler.actor import Scheduler
from services.scheduler.batch import errand_on as real_errand_on
from services.scheduler.core import advance as real_advance
from services.scheduler.decision import Changed, Removed, Repeated
from services.scheduler.progress import reached
from services.scheduler.rules import record, working
from shared.contracts.batch import Errand, entry_id
from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.facts import Failed, Separated
from shared.contracts.job import Status
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import StopOrder
from tests.model.watch import WatchedStore

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from services.scheduler.decision import Circumstances, Outcome, Stimulus
    from services.scheduler.grants import Tally
    from shared.contracts.batch import Batch
    from shared.contracts.commands import JobCommand
    from shared.contracts.job import Job

    Plant = Callable[[pytest.MonkeyPatch], None]
    Wrong = Callable[[Job | None, Stimulus, Circumstances, Outcome], Outcome]


def deciding_wrongly(wrong: Wrong) -> Plant:
    """The table is right, but something is done to what comes of it."""

    def advance(job: Job | None, stimulus: Stimulus, at: Circumstances) -> Outcome:
        return wrong(job, stimulus, at, real_advance(job, stimulus, at))

    return lambda patch: patch.setattr(deciding, "advance", advance)


def silent_repetition(_: object, __: object, ___: object, outcome: Outcome) -> Outcome:
    """What took effect before is not said again."""
    if isinstance(outcome, Repeated):
        return Repeated(replace(outcome.job, outbox=()))
    return outcome


def late_fact_undoes_a_cancel(
    job: Job | None, stimulus: Stimulus, at: Circumstances, outcome: Outcome
) -> Outcome:
    """A chunk that comes after a cancel takes the job up again."""
    if job and job.status is Status.CANCELLED and isinstance(stimulus, Separated):
        return record.changed(replace(job, status=Status.PROCESSING), at, "")
    return outcome


def two_ends(job: Job | None, stimulus: Stimulus, at: Circumstances, outcome: Outcome) -> Outcome:
    """A completed job can be cancelled."""
    if job and job.status is Status.COMPLETED and isinstance(stimulus, CancelJob):
        return record.changed(replace(job, status=Status.CANCELLED), at, "")
    return outcome


def progress_of_what_is_left(_: object, __: object, ___: object, outcome: Outcome) -> Outcome:
    """Progress is what is done now, not the most there ever was."""
    if isinstance(outcome, Changed):
        return Changed(replace(outcome.job, progress=reached(outcome.job)))
    return outcome


def attempts_begin_anew(_: object, stimulus: Stimulus, __: object, outcome: Outcome) -> Outcome:
    """A retry counts attempts from the start."""
    if isinstance(outcome, Changed) and isinstance(stimulus, RetryJob):
        units = {
            name: unit if unit.state is UnitState.DONE else Unit(UnitState.WAITING, 0)
            for name, unit in outcome.job.units.items()
        }
        return Changed(replace(outcome.job, units=units, attempt_floor=0))
    return outcome


def failed_goes_on(job: Job | None, stimulus: Stimulus, _: object, outcome: Outcome) -> Outcome:
    """A job that has failed has its last orders said again."""
    if not isinstance(outcome, Changed) or not isinstance(stimulus, Failed) or job is None:
        return outcome
    over = outcome.job.status is Status.FAILED
    return Changed(replace(outcome.job, outbox=job.outbox)) if over else outcome


def cancelled_is_gone(job: Job | None, stimulus: Stimulus, _: object, outcome: Outcome) -> Outcome:
    """A job that is cancelled while it waits is forgotten."""
    if job and job.status is Status.PENDING and isinstance(stimulus, CancelJob):
        return Removed(job, (), "")
    return outcome


def made_anew_from_one(_: object, stimulus: Stimulus, __: object, outcome: Outcome) -> Outcome:
    """A job that is submitted after its deletion begins with attempt 1."""
    if isinstance(outcome, Changed) and isinstance(stimulus, SubmitJob):
        return Changed(replace(outcome.job, attempt_floor=0))
    return outcome


def stopped_by_its_own_outbox(job: Job | None, _: object, __: object, outcome: Outcome) -> Outcome:
    """Before lost files are made anew, what is out is called off."""
    if isinstance(outcome, Changed) and job and outcome.job.restarts > job.restarts:
        stop = StopOrder(job_id=job.id)
        return Changed(replace(outcome.job, outbox=(stop, *outcome.job.outbox)))
    return outcome


def any_attempt_will_do(patch: pytest.MonkeyPatch) -> None:
    """A fact is accepted whatever attempt it is of."""
    real = working._accept

    def accept(job: Job, fact: Any, *more: Any) -> Outcome:  # noqa: ANN401 - as given
        unit = job.units.get(fact.unit)
        return real(job, replace(fact, attempt=unit.attempt) if unit else fact, *more)

    patch.setattr(working, "_accept", accept)


def nothing_said_at_a_take_over(patch: pytest.MonkeyPatch) -> None:
    """The new owner does not say what the old one may not have said."""
    real = Scheduler.take_over

    async def take_over(self: Scheduler) -> list[Any]:
        await real(self)
        return []

    patch.setattr(Scheduler, "take_over", take_over)


def every_job_has_all_slots(patch: pytest.MonkeyPatch) -> None:
    """Chunks that other jobs have out are not counted."""

    def windows(tallies: list[Tally], slots: int, _: object) -> dict[str, int]:
        return {one.job_id: max(one.out, min(slots, one.out + one.idle)) for one in tallies}

    patch.setattr(dispatcher, "windows", windows)


def one_owner_first(patch: pytest.MonkeyPatch) -> None:
    """One owner has always had the least."""
    patch.setattr(
        dispatcher,
        "levelled",
        lambda _, owners: {owner: 0 if owner == min(owners) else 10**9 for owner in owners},
    )


def no_patience(patch: pytest.MonkeyPatch) -> None:
    """The shortest goes first, for ever."""
    patch.setattr(grants, "PATIENCE", 10**9)


def one_more_than_may(patch: pytest.MonkeyPatch) -> None:
    """More jobs are started than may be processing."""
    real = dispatcher.Dispatcher.capacity

    def capacity(self: dispatcher.Dispatcher) -> object:
        found = real(self)
        return replace(found, max_processing=found.max_processing + 1, download_slots=9)

    patch.setattr(dispatcher.Dispatcher, "capacity", capacity)


def no_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    """Whoever writes last has written."""

    def swap(
        self: WatchedStore, key: str, record: Job | Batch | None, _: int, request: str = ""
    ) -> int:
        self.before_write()
        return self._put(key, record, request)

    patch.setattr(WatchedStore, "_swap", swap)


def released_and_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A job that was held once is never looked at again."""
    real = ledger.Ledger.put

    def put(self: ledger.Ledger, job: Job, revision: int) -> None:
        real(self, job, revision)
        if any(moment.note == "released" for moment in job.timeline):
            self.waiting.pop(job.id, None)

    patch.setattr(ledger.Ledger, "put", put)


def no_second_try(patch: pytest.MonkeyPatch) -> None:
    """The time of a unit's next attempt passes unnoticed."""
    patch.setattr(ledger, "times", lambda *_: iter(()))


def last_chunk_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Of a long song the last chunk is never ordered."""
    real = orders.needed

    def needed(job: Job, window: int) -> Any:  # noqa: ANN401 - as it is
        last = str(job.plan.chunks - 1) if job.plan and job.plan.chunks > 2 else ""
        return (name for name in real(job, window) if name != last)

    patch.setattr(orders, "needed", needed)


def cancel_what_is_known(patch: pytest.MonkeyPatch) -> None:
    """A batch that is called off goes over the jobs that its record knows of, and no others."""

    def errand_on(batch: Batch, number: int) -> tuple[JobCommand, ...]:
        if batch.errand is Errand.CANCEL and number >= batch.submitted:
            return ()
        return real_errand_on(batch, number)

    patch.setattr(batches_module, "errand_on", errand_on)


def errand_counts_too_far(patch: pytest.MonkeyPatch) -> None:
    """Of every batch the third song is left out."""

    def errand_on(batch: Batch, number: int) -> tuple[JobCommand, ...]:
        found = real_errand_on(batch, number)
        return () if found and found[0].job_id == entry_id(batch.id, 2) else found

    patch.setattr(batches_module, "errand_on", errand_on)


def old_records_are_trusted(patch: pytest.MonkeyPatch) -> None:
    """A fact is dropped for what a record was once."""

    async def is_outdated(*_: object) -> bool:
        return False

    patch.setattr(deciding.Decider, "_is_outdated", is_outdated)


def what_others_wrote_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """Whoever writes over a dying owner's record does not say its orders."""
    patch.setattr(deciding, "_with_what_stands", lambda job, _: job)
