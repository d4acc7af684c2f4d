"""What workers tell: how far the units of a job are, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from services.scheduler.decision import Circumstances, Others, Outcome, Repeated, Stale
from services.scheduler.rules.record import (
    LOST,
    PATIENT,
    at_phase,
    changed,
    ended,
    failed,
    highest_attempt,
    ordered,
    pause,
    with_track,
    with_unit,
    without_chunks,
    without_plan,
    without_track,
)
from services.scheduler.rules.sharing import following
from shared.contracts.facts import Downloaded, Failed, Finalized, Prepared, Separated
from shared.contracts.job import Job, Phase, Status
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import UNIT_PREPARE, UNIT_SOURCE, UNIT_STEMS
from shared.errors import Code

Done = Downloaded | Prepared | Separated | Finalized

_OLD: Final = "not the attempt that is awaited"


def downloaded(job: Job, fact: Downloaded, at: Circumstances) -> Outcome:
    """The track is there."""

    def apply(job: Job) -> Job:
        job = with_track(replace(job, metadata=fact.metadata), fact.track, at.now, at)
        return _beside(at.others, job, at)

    return _accept(job, fact, at, apply, f"downloaded{_told(at.others)}")


def prepared(job: Job, fact: Prepared, at: Circumstances) -> Outcome:
    """The plan is there: which tells the result's id."""

    def apply(job: Job) -> Job:
        return _beside(at.others, replace(job, plan=fact.plan), at)

    return _accept(job, fact, at, apply, f"model {fact.plan.model}{_told(at.others)}")


def _beside(others: Others, job: Job, at: Circumstances) -> Job:
    """``job``, now that its result's id is known: there may be such a result, or one at work on it.

    The song may have come by another address, the model under another name.
    """
    if others.made is not None:
        job = at_phase(replace(job, result=others.made.result), Phase.FINALIZATION, at)
        return ended(job, Status.COMPLETED, at)
    return following(job, others.leader) if others.leader is not None else job


def _told(others: Others) -> str:
    if others.made is not None:
        return f"; the result is {others.made.id}'s"
    return f"; follows {others.leader.id}" if others.leader is not None else ""


def separated(job: Job, fact: Separated, at: Circumstances) -> Outcome:
    """A chunk is done, perhaps the last one."""
    last = job.plan is not None and job.chunks_done + 1 == job.plan.chunks

    def apply(job: Job) -> Job:
        return at_phase(job, Phase.FINALIZATION, at) if last else job

    notes = [f"chunk {fact.unit}: {fact.note}"] if fact.note else []
    return _accept(job, fact, at, apply, "; ".join([*notes, *(["separated"] if last else [])]))


def finalized(job: Job, fact: Finalized, at: Circumstances) -> Outcome:
    """The stems are there."""

    def apply(job: Job) -> Job:
        return ended(replace(job, result=fact.result), Status.COMPLETED, at)

    return _accept(job, fact, at, apply, "completed")


def completed_again(job: Job, fact: Finalized | Prepared | Downloaded, _: Circumstances) -> Outcome:
    """Of a completed job: what completed it, or something older."""
    unit = job.units.get(fact.unit)
    last = {UNIT_STEMS} if UNIT_STEMS in job.units else {UNIT_PREPARE, UNIT_SOURCE}
    same = unit is not None and fact.unit in last and unit.attempt == fact.attempt
    return Repeated(job) if same else Stale(_OLD)


def failure(job: Job, fact: Failed, at: Circumstances) -> Outcome:
    """Something went wrong: try again later, make lost files anew, or give up."""
    unit = job.units.get(fact.unit)
    if unit is None or unit.attempt != fact.attempt or unit.state is UnitState.DONE:
        return Stale(_OLD)
    if unit.state is UnitState.WAITING:
        return Repeated(job)
    problem = fact.problem
    note = f"{fact.stage} {fact.unit}: {problem.title}"
    if problem.code in LOST and job.restarts < at.retries.restarts:
        return _anew(job, fact, at, f"{note}; making it anew")
    failures = unit.failures + 1
    patient = problem.code in PATIENT
    attempts = at.retries.patient_attempts if patient else at.retries.attempts[fact.stage]
    if problem.retryable and failures < attempts:
        retry_at = at.now + pause(failures, problem, at)
        waiting = Unit(UnitState.WAITING, unit.attempt, failures, retry_at)
        return changed(with_unit(job, fact.unit, waiting), at, f"{note}; trying again")
    if problem.code is Code.MODEL_CHANGED and job.restarts < at.retries.restarts:
        job = at_phase(without_plan(job), Phase.SEPARATION, at)
        return ordered(replace(job, restarts=job.restarts + 1), at, f"{note}; planning it anew")
    return failed(job, at, problem, note)


def failure_again(job: Job, fact: Failed, _: Circumstances) -> Outcome:
    """Of a failed job: what it failed of, or something older."""
    unit = job.units.get(fact.unit)
    same = unit is not None and unit.attempt == fact.attempt and job.error == fact.problem
    return Repeated(job) if same else Stale("not what the job has failed of")


def _anew(job: Job, fact: Failed, at: Circumstances, note: str) -> Outcome:
    """Finalization misses chunks: compute them again; else it is the track that is missed.

    Where it says which chunks, the others stay done; so do all that are, where it is the track.

    What is still out is not called off: said again, the stop would take the new orders away, and
    the broker would drop those, said again, as ones that it knows.  Whoever works on what is not
    awaited any more learns it from the record.
    """
    if fact.unit == UNIT_STEMS and not fact.track_lost:
        job = at_phase(_without(job, fact.lost), Phase.SEPARATION, at)
    else:
        job = at_phase(without_track(job), Phase.DOWNLOAD, at)
    job = replace(job, restarts=job.restarts + 1)
    return ordered(job, at, note)


def _without(job: Job, lost: tuple[int, ...]) -> Job:
    """Of a job that is being finalized: these chunks are gone; all, where it names none."""
    names = {str(chunk) for chunk in lost} & job.units.keys()
    if not names:
        return without_chunks(job)
    kept = {name: unit for name, unit in job.units.items() if name not in {*names, UNIT_STEMS}}
    floor = max(job.attempt_floor, highest_attempt(job))
    return replace(job, units=kept, attempt_floor=floor)


def _accept(
    job: Job, fact: Done, at: Circumstances, apply: Callable[[Job], Job], note: str
) -> Outcome:
    """Take in a fact, if it is of the attempt that was ordered, and order what comes next."""
    if not _fits(fact):
        return Stale(f"no unit {fact.unit} is answered with this")
    unit = job.units.get(fact.unit)
    if unit is None or unit.attempt != fact.attempt:
        return Stale(_OLD)
    if unit.state is UnitState.DONE:
        return Repeated(job)
    done = Unit(UnitState.DONE, unit.attempt)
    return ordered(apply(with_unit(job, fact.unit, done)), at, note)


def _fits(fact: Done) -> bool:
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
