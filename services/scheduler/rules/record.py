"""What the rules are made of: how a record changes, and what is noted of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.scheduler.decision import Changed, Circumstances, Refusal
from services.scheduler.orders import next_orders
from services.scheduler.progress import reached
from services.scheduler.wishes import another_run
from shared.contracts.job import TIMELINE_LIMIT, Job, Legacy, Moment, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.unit import UnitState
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    UNIT_SWEEP_LEFT,
    StopOrder,
    SweepWork,
    Word,
)
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from datetime import datetime

    from shared.contracts.audio import Track
    from shared.contracts.unit import Unit

#: Errors that say that stored files are gone or damaged.
LOST: Final = frozenset({Code.BLOB_MISSING, Code.BLOB_CORRUPT})
#: Errors that are no fault of the job's: it can wait until they are mended.
PATIENT: Final = frozenset({Code.STORAGE_FULL, Code.STORAGE_UNAVAILABLE})


def changed(job: Job, at: Circumstances, note: str, *words: Word) -> Changed:
    """``job`` as it is to be stored, with ``words`` to follow and, if any, a line of timeline."""
    job = replace(job, outbox=words, updated_at=at.now, progress=max(job.progress, reached(job)))
    return Changed(noted(job, at, note) if note else job)


def noted(job: Job, at: Circumstances, note: str) -> Job:
    """``job`` with a line more in its timeline."""
    moment = Moment(at=at.now, status=job.status, phase=job.phase, note=note)
    lines = (*job.timeline, moment)
    if len(lines) > TIMELINE_LIMIT:  # the beginning says what it was, the end how it is
        lines = (*lines[: TIMELINE_LIMIT // 4], *lines[TIMELINE_LIMIT // 4 + 1 :])
    return replace(job, timeline=lines)


def ordered(job: Job, at: Circumstances, note: str) -> Changed:
    """``job`` with what it needs next ordered."""
    if job.status is Status.COMPLETED:
        sweep = SweepWork(job_id=job.id, attempt=highest_attempt(job), run=job.run)
        return changed(job, at, note, sweep)
    if job.status is Status.PENDING:  # it waits for another
        if job.attempt_floor == 0 or has_chunks(job):
            return changed(job, at, note)
        # Of an earlier plan something may lie there still.
        job = replace(job, attempt_floor=attempts_of(job))
        sweep = SweepWork(job_id=job.id, attempt=job.attempt_floor, run=job.run)
        return changed(job, at, note, sweep)
    job, words = next_orders(job, at.window)
    return changed(job, at, note, *words)


def ended(job: Job, status: Status, at: Circumstances) -> Job:
    """``job`` at its end."""
    return replace(
        job,
        status=status,
        finished_at=at.now,
        run_at=None,
        held_at=None,
        front_at=None,
        eta=None,
        follows=None,
        legacy=job.legacy if at.others.unclaimed else None,
    )


def bequeathed(job: Job, at: Circumstances) -> tuple[Job, tuple[Word, ...]]:
    """``job``, ended, its run left to its heir; nobody sweeps it before that one has ended.

    It computes elsewhere should it be retried: attempts of two jobs never meet under one run.
    What was left earlier and nobody has come for goes.
    """
    words: tuple[Word, ...] = ()
    if job.legacy is not None:
        words = (swept(job, job.legacy.run, attempts_of(job)),)
    run = job.run_id
    legacy = Legacy(heir=at.others.heir, run=run)
    return replace(job, legacy=legacy, run=another_run(job.id, run)), words


def unclaimed(job: Job, at: Circumstances) -> tuple[Word, ...]:
    """A follower that ends before it has taken over what its leader left it sweeps that."""
    leader = at.others.leader
    if job.follows is None or leader is None or leader.legacy is None:
        return ()
    if leader.id != job.follows or leader.legacy.heir != job.id:
        return ()
    return (swept(job, leader.legacy.run, attempts_of(leader)),)


def swept(job: Job, run: str, attempt: int) -> SweepWork:
    """The order to sweep a run that ``job`` has to do with, and does not compute in."""
    return SweepWork(job_id=job.id, unit=UNIT_SWEEP_LEFT, attempt=max(attempt, 1), run=run)


def failed(job: Job, at: Circumstances, problem: Problem, note: str) -> Changed:
    """``job``, failed for good; whatever is still out is called off."""
    words = unclaimed(job, at)
    job = ended(replace(job, error=problem), Status.FAILED, at)
    if job.units:
        words = (StopOrder(job_id=job.id), *words)
    if at.others.heir:
        job, more = bequeathed(job, at)
        return changed(job, at, f"{note}; {at.others.heir} goes on with it", *words, *more)
    return changed(job, at, note, *words)


def at_phase(job: Job, phase: Phase, at: Circumstances) -> Job:
    """``job``, at the beginning of ``phase``."""
    return replace(job, phase=phase, phase_at=at.now)


def with_unit(job: Job, name: str, unit: Unit) -> Job:
    """``job`` with one unit replaced."""
    return replace(job, units={**job.units, name: unit})


def highest_attempt(job: Job) -> int:
    """The highest attempt there was of any unit."""
    return max((unit.attempt for unit in job.units.values()), default=0)


def attempts_of(job: Job) -> int:
    """No attempt of it, of whichever unit, was higher."""
    return max(highest_attempt(job), job.attempt_floor)


def has_chunks(job: Job) -> bool:
    """Whether it has chunks of its own, finished or not."""
    return any(name.isdigit() for name in job.units)


def without_chunks(job: Job) -> Job:
    """What was computed is gone or going; attempts go on counting above it."""
    kept = {name: unit for name, unit in job.units.items() if name in {UNIT_SOURCE, UNIT_PREPARE}}
    return replace(job, units=kept, attempt_floor=attempts_of(job))


def without_plan(job: Job) -> Job:
    """The model that it was planned for is another one by now: only the track is kept."""
    job = without_chunks(job)
    units = {name: unit for name, unit in job.units.items() if name == UNIT_SOURCE}
    phase = Phase.SEPARATION if job.phase is Phase.FINALIZATION else job.phase
    return replace(job, phase=phase, plan=None, units=units)


def from_the_start(job: Job) -> Job:
    """What was stored can't be relied on: nothing is done, and attempts count on."""
    job = without_chunks(job)
    return replace(job, phase=None, track=None, fetched_at=None, plan=None, units={})


def without_track(job: Job) -> Job:
    """Its track is gone or damaged, and fetched anew; finished chunks stay.

    If it is the same again, they are of use: whoever puts them together compares what each has
    heard with the track.
    """
    kept = {
        name: unit
        for name, unit in job.units.items()
        if unit.state is UnitState.DONE and name not in {UNIT_SOURCE, UNIT_STEMS}
    }
    return replace(
        job,
        phase=None,
        track=None,
        fetched_at=None,
        former_track=job.track.id if job.track else job.former_track,
        units=kept,
        attempt_floor=attempts_of(job),
    )


def with_track(job: Job, track: Track, fetched_at: datetime | None, at: Circumstances) -> Job:
    """``job`` with what it is about, at the phase that it has reached with that."""
    if job.plan is not None and job.former_track != track.id:
        job = without_plan(job)
    job = replace(job, track=track, fetched_at=fetched_at, former_track="")
    whole = job.plan is not None and job.chunks_done == job.plan.chunks
    return at_phase(job, Phase.FINALIZATION if whole else Phase.SEPARATION, at)


def pause(failures: int, problem: Problem, at: Circumstances) -> timedelta:
    """How long to wait after the n-th failure: exponential, with up to half as much jitter.

    Not shorter than what the site asked for, or than it is left alone.
    """
    limits = at.retries
    first = limits.patient_first_pause if problem.code in PATIENT else limits.first_pause
    backoff = first * 2 ** (failures - 1) * (1 + at.chance / 2)
    seconds = min(max(backoff, problem.retry_after or 0.0), limits.longest_pause)
    if at.paused_until is not None:
        alone = (at.paused_until - at.now).total_seconds()
        seconds = max(seconds, alone + limits.first_pause * at.chance)
    return timedelta(seconds=seconds)


def refuse(code: Code, detail: str) -> Refusal:
    """A client's wish that can't be granted."""
    return Refusal(Problem.of(TerminalError(code, detail)))


def late(code: Code, detail: str) -> Problem:
    """The failure of a job that ran out of time."""
    return Problem.of(RetryableError(code, detail))
