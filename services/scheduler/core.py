"""The life of a job: one table, from (status, stimulus) to a rule, and the rules.

Pure: time and chance come in as ``Circumstances``; what goes out is the job's next record and,
in its outbox, the words that follow.  A pair that is not in the table is refused (a command)
or stale (anything else); an applied stimulus that comes again says the outbox again and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec.structs import replace

from services.scheduler.decision import (
    Changed,
    Circumstances,
    Dispatched,
    Due,
    Outcome,
    Refusal,
    Repeated,
    Stale,
    Stimulus,
)
from services.scheduler.orders import next_orders
from services.scheduler.progress import reached
from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.facts import Downloaded, Failed, Finalized, Prepared, Separated
from shared.contracts.job import (
    HEARD_LIMIT,
    TIMELINE_LIMIT,
    Job,
    Moment,
    Phase,
    Status,
    Unit,
    UnitState,
)
from shared.contracts.problem import Problem
from shared.contracts.subjects import id_of
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    StopOrder,
    SweepWork,
    Word,
)
from shared.errors import Code, TerminalError

#: Errors that say that stored files are gone or damaged.
LOST: Final = frozenset({Code.BLOB_MISSING, Code.BLOB_CORRUPT})
#: Errors that are no fault of the job's: it can wait until they are mended.
PATIENT: Final = frozenset({Code.STORAGE_FULL, Code.STORAGE_UNAVAILABLE})


def advance(job: Job | None, stimulus: Stimulus, circumstances: Circumstances) -> Outcome:
    """What becomes of ``job`` (None: there is none yet) on ``stimulus``."""
    if isinstance(stimulus, (CancelJob, RetryJob)) and job and id_of(stimulus) in job.heard:
        # A command that took effect and comes again must not undo what came after it.
        return Repeated(job)
    rule = TABLE[job.status if job else None].get(type(stimulus))
    if rule is not None:
        outcome = rule.apply(job, stimulus, circumstances)
        return _heard(outcome, stimulus)
    if not isinstance(stimulus, (SubmitJob, CancelJob, RetryJob)):
        return Stale(f"{type(stimulus).__name__} for a job that is {job.status if job else None}")
    if job is None:
        return _refuse(Code.JOB_NOT_FOUND, stimulus.job_id)
    return _refuse(Code.JOB_WRONG_STATE, f"the job is {job.status}")


def _heard(outcome: Outcome, stimulus: Stimulus) -> Outcome:
    """The outcome, with a command that took effect remembered; one nobody waits for has no id."""
    if not isinstance(stimulus, (CancelJob, RetryJob)) or not stimulus.reply_to:
        return outcome
    if not isinstance(outcome, Changed):
        return outcome
    heard = (*outcome.job.heard, id_of(stimulus))[-HEARD_LIMIT:]
    return Changed(replace(outcome.job, heard=heard))


# --- the rules -----------------------------------------------------------------------------


def _submit(_: None, command: SubmitJob, at: Circumstances) -> Outcome:
    waits = command.run_at is not None and command.run_at > at.now
    job = Job(
        id=command.job_id,
        source=command.source,
        options=command.options,
        status=Status.SCHEDULED if waits else Status.PENDING,
        created_at=at.now,
        updated_at=at.now,
        run_at=command.run_at if waits else None,
        traceparent=command.traceparent,
    )
    return Changed(_noted(job, at, "submitted"))


def _submit_again(job: Job, command: SubmitJob, _: Circumstances) -> Outcome:
    if (job.source, job.options) == (command.source, command.options):
        return Repeated(job)
    return _refuse(Code.JOB_EXISTS, job.id)


def _release(job: Job, _: Due, at: Circumstances) -> Outcome:
    if job.run_at is not None and job.run_at > at.now:
        return Stale("its time has not come")
    return _changed(replace(job, status=Status.PENDING, run_at=None), at, "its time has come")


def _dispatch(job: Job, _: Dispatched, at: Circumstances) -> Outcome:
    started = replace(
        job,
        status=Status.PROCESSING,
        phase=job.phase or Phase.DOWNLOAD,
        started_at=job.started_at or at.now,
    )
    return _ordered(started, at, "resumed" if job.phase else "started")


def _downloaded(job: Job, fact: Downloaded, at: Circumstances) -> Outcome:
    def apply(job: Job) -> Job:
        return replace(job, phase=Phase.SEPARATION, track=fact.track, metadata=fact.metadata)

    return _accept(job, fact, at, apply, "downloaded")


def _prepared(job: Job, fact: Prepared, at: Circumstances) -> Outcome:
    return _accept(
        job, fact, at, lambda job: replace(job, plan=fact.plan), f"model {fact.plan.model}"
    )


def _separated(job: Job, fact: Separated, at: Circumstances) -> Outcome:
    def apply(job: Job) -> Job:
        last = job.plan is not None and job.chunks_done == job.plan.chunks
        return replace(job, phase=Phase.FINALIZATION) if last else job

    last = job.plan is not None and job.chunks_done + 1 == job.plan.chunks
    return _accept(job, fact, at, apply, "separated" if last else "")


def _finalized(job: Job, fact: Finalized, at: Circumstances) -> Outcome:
    def apply(job: Job) -> Job:
        return _ended(replace(job, result=fact.result), Status.COMPLETED, at)

    return _accept(job, fact, at, apply, "completed")


def _failed(job: Job, fact: Failed, at: Circumstances) -> Outcome:
    unit = job.units.get(fact.unit)
    if unit is None or unit.attempt != fact.attempt or unit.state is UnitState.DONE:
        return Stale("not the attempt that is awaited")
    if unit.state is UnitState.WAITING:
        return Repeated(job)
    failures = unit.failures + 1
    name = f"{fact.stage} {fact.unit}: {fact.problem.title}"
    patient = fact.problem.code in PATIENT
    attempts = at.retries.patient_attempts if patient else at.retries.attempts[fact.stage]
    if fact.problem.retryable and failures < attempts:
        retry_at = at.now + pause(failures, fact.problem, at)
        waiting = Unit(UnitState.WAITING, unit.attempt, failures, retry_at)
        return _changed(_with_unit(job, fact.unit, waiting), at, f"{name}; trying again")
    ended = replace(_with_unit(job, fact.unit, unit), error=fact.problem)
    return _changed(_ended(ended, Status.FAILED, at), at, name, StopOrder(job_id=job.id))


def _retry_due(job: Job, _: Due, at: Circumstances) -> Outcome:
    units = {
        name: Unit(UnitState.ORDERED, unit.attempt + 1, unit.failures)
        if unit.state is UnitState.WAITING and unit.retry_at and unit.retry_at <= at.now
        else unit
        for name, unit in job.units.items()
    }
    if units == job.units:
        return Stale("nothing is due")
    again = tuple(name for name in units if units[name] != job.units[name])
    job, words = next_orders(replace(job, units=units), at.window, again=again)
    return _changed(job, at, "", *words)


def _cancel(job: Job, _: CancelJob, at: Circumstances) -> Outcome:
    note = "cancelled"
    ended = _ended(job, Status.CANCELLED, at)
    if job.status is not Status.PROCESSING and not job.units:
        return _changed(ended, at, note)
    # What was computed is swept away; attempts go on counting above what the sweep removes.
    floor = max((unit.attempt for unit in job.units.values()), default=0)
    kept = {
        name: unit
        for name, unit in job.units.items()
        if name in {UNIT_SOURCE, UNIT_PREPARE} and unit.state is UnitState.DONE
    }
    ended = replace(ended, units=kept, attempt_floor=max(floor, job.attempt_floor))
    sweep = SweepWork(job_id=job.id, attempt=max(ended.attempt_floor, 1))
    return _changed(ended, at, note, StopOrder(job_id=job.id), sweep)


def _cancel_again(job: Job, _: CancelJob, __: Circumstances) -> Outcome:
    return Repeated(job)


def _retry(job: Job, _: RetryJob, at: Circumstances) -> Outcome:
    """Back to waiting; what is done stays done, what is not starts with a clean record."""
    if job.error is not None and job.error.code in LOST:
        job = _from_the_start(job)
    units = {
        name: unit if unit.state is UnitState.DONE else Unit(UnitState.WAITING, unit.attempt)
        for name, unit in job.units.items()
    }
    if job.phase is Phase.FINALIZATION and not job.units.keys() - {UNIT_SOURCE, UNIT_PREPARE}:
        job = replace(job, phase=Phase.SEPARATION)  # a cancel swept the chunks away
    pending = replace(job, status=Status.PENDING, units=units, error=None, finished_at=None)
    return _changed(pending, at, "retried")


def _from_the_start(job: Job) -> Job:
    """What was stored can't be relied on: nothing is done, and attempts count on."""
    highest = max((unit.attempt for unit in job.units.values()), default=0)
    floor = max(highest, job.attempt_floor)
    return replace(job, phase=None, track=None, plan=None, units={}, attempt_floor=floor)


def _failed_again(job: Job, fact: Failed, _: Circumstances) -> Outcome:
    unit = job.units.get(fact.unit)
    same = unit is not None and unit.attempt == fact.attempt and job.error == fact.problem
    return Repeated(job) if same else Stale("not what the job has failed of")


def _completed_again(job: Job, fact: Finalized, _: Circumstances) -> Outcome:
    unit = job.units.get(fact.unit)
    return Repeated(job) if unit and unit.attempt == fact.attempt else Stale("an older attempt")


# --- the table -----------------------------------------------------------------------------


class Rule(NamedTuple):
    """What a stimulus does to a job of one status, and where that can lead."""

    apply: Callable[..., Outcome]
    leads_to: tuple[Status, ...]


_REPEAT: Final = Rule(_submit_again, ())

#: ``{status: {stimulus: rule}}``; None is "no such job".  The README's chart is drawn from it.
TABLE: Final[Mapping[Status | None, Mapping[type, Rule]]] = MappingProxyType(
    {
        None: {SubmitJob: Rule(_submit, (Status.PENDING, Status.SCHEDULED))},
        Status.SCHEDULED: {
            Due: Rule(_release, (Status.PENDING,)),
            CancelJob: Rule(_cancel, (Status.CANCELLED,)),
            SubmitJob: _REPEAT,
        },
        Status.PENDING: {
            Dispatched: Rule(_dispatch, (Status.PROCESSING,)),
            CancelJob: Rule(_cancel, (Status.CANCELLED,)),
            SubmitJob: _REPEAT,
        },
        Status.PROCESSING: {
            Downloaded: Rule(_downloaded, (Status.PROCESSING,)),
            Prepared: Rule(_prepared, (Status.PROCESSING,)),
            Separated: Rule(_separated, (Status.PROCESSING,)),
            Finalized: Rule(_finalized, (Status.COMPLETED,)),
            Failed: Rule(_failed, (Status.PROCESSING, Status.FAILED)),
            Due: Rule(_retry_due, (Status.PROCESSING,)),
            CancelJob: Rule(_cancel, (Status.CANCELLED,)),
            SubmitJob: _REPEAT,
        },
        Status.COMPLETED: {Finalized: Rule(_completed_again, ()), SubmitJob: _REPEAT},
        Status.FAILED: {
            RetryJob: Rule(_retry, (Status.PENDING,)),
            Failed: Rule(_failed_again, ()),
            SubmitJob: _REPEAT,
        },
        Status.CANCELLED: {
            RetryJob: Rule(_retry, (Status.PENDING,)),
            CancelJob: Rule(_cancel_again, ()),
            SubmitJob: _REPEAT,
        },
    }
)


# --- what the rules are made of ------------------------------------------------------------


def pause(failures: int, problem: Problem, at: Circumstances) -> timedelta:
    """How long to wait after the n-th failure: exponential, with up to half as much jitter."""
    limits = at.retries
    first = limits.patient_first_pause if problem.code in PATIENT else limits.first_pause
    backoff = first * 2 ** (failures - 1) * (1 + at.chance / 2)
    return timedelta(seconds=min(max(backoff, problem.retry_after or 0.0), limits.longest_pause))


def _accept(
    job: Job,
    fact: Downloaded | Prepared | Separated | Finalized,
    at: Circumstances,
    apply: Callable[[Job], Job],
    note: str,
) -> Outcome:
    """Take in a fact, if it is of the attempt that was ordered, and order what comes next."""
    if not _fits(fact):
        return Stale(f"no unit {fact.unit} is answered with this")
    unit = job.units.get(fact.unit)
    if unit is None or unit.attempt != fact.attempt:
        return Stale("not the attempt that is awaited")
    if unit.state is UnitState.DONE:
        return Repeated(job)
    done = Unit(UnitState.DONE, unit.attempt)
    return _ordered(apply(_with_unit(job, fact.unit, done)), at, note)


def _fits(fact: Downloaded | Prepared | Separated | Finalized) -> bool:
    """Whether this is what a unit of this name is answered with."""
    match fact:
        case Downloaded():
            return fact.unit == UNIT_SOURCE
        case Prepared():
            return fact.unit == UNIT_PREPARE
        case Finalized():
            return fact.unit == UNIT_STEMS
        case Separated():
            return fact.unit.isdigit()


def _ordered(job: Job, at: Circumstances, note: str) -> Changed:
    if job.status is Status.COMPLETED:
        highest = max(unit.attempt for unit in job.units.values())
        return _changed(job, at, note, SweepWork(job_id=job.id, attempt=highest))
    job, words = next_orders(job, at.window)
    return _changed(job, at, note, *words)


def _with_unit(job: Job, name: str, unit: Unit) -> Job:
    return replace(job, units={**job.units, name: unit})


def _ended(job: Job, status: Status, at: Circumstances) -> Job:
    return replace(job, status=status, finished_at=at.now, run_at=None, eta=None)


def _changed(job: Job, at: Circumstances, note: str, *words: Word) -> Changed:
    job = replace(job, outbox=words, updated_at=at.now, progress=max(job.progress, reached(job)))
    return Changed(_noted(job, at, note) if note else job)


def _noted(job: Job, at: Circumstances, note: str) -> Job:
    moment = Moment(at=at.now, status=job.status, phase=job.phase, note=note)
    lines = (*job.timeline, moment)
    if len(lines) > TIMELINE_LIMIT:  # the beginning says what it was, the end how it is
        lines = (*lines[: TIMELINE_LIMIT // 4], *lines[TIMELINE_LIMIT // 4 + 1 :])
    return replace(job, timeline=lines)


def _refuse(code: Code, detail: str) -> Refusal:
    return Refusal(Problem.of(TerminalError(code, detail)))
