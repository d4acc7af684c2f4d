"""What time brings: a job's turn, a time that has come, a time that is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from services.scheduler.decision import Circumstances, Outcome, Stale
from services.scheduler.orders import next_orders
from services.scheduler.rules.record import at_phase, changed, failed, late, ordered
from services.scheduler.rules.sharing import completed_like, following, with_track_of
from shared.contracts.job import Job, Phase, Status
from shared.contracts.unit import Unit, UnitState
from shared.errors import Code

if TYPE_CHECKING:
    from services.scheduler.decision import Dispatched, Due, Granted, TimeLimits


def dispatch(job: Job, _: Dispatched, at: Circumstances) -> Outcome:
    """It is its turn."""
    if job.held_at is not None or job.follows is not None:
        return Stale("it is held, or follows another")
    others, note = at.others, "resumed" if job.started_at else "started"
    if others.made is not None:
        return completed_like(job, others.made, at, f"the result is {others.made.id}'s")
    if others.leader is not None:
        return changed(following(job, others.leader), at, f"follows {others.leader.id}")
    if job.track is None and others.fetched is not None:
        job = with_track_of(job, others.fetched, at)
        note = f"{note}; the track is {others.fetched.id}'s"
    started = replace(
        at_phase(job, job.phase or Phase.DOWNLOAD, at),
        status=Status.PROCESSING,
        front_at=None,
        started_at=job.started_at or at.now,
        resumed_at=at.now,
    )
    return ordered(started, at, note)


def grant(job: Job, _: Granted, at: Circumstances) -> Outcome:
    """More of its chunks may go out."""
    job, words = next_orders(job, at.window)
    return changed(job, at, "", *words) if words else Stale("nothing more may go out")


def due(job: Job, _: Due, at: Circumstances) -> Outcome:
    """Its deadline, the end of a limit, its time to start, or the next attempt of a unit."""
    if (deadline := job.terms.deadline) is not None and deadline <= at.now:
        problem = late(Code.JOB_DEADLINE_PASSED, deadline.isoformat(timespec="seconds"))
        return failed(job, at, problem, problem.title)
    if job.status is Status.SCHEDULED:
        return _scheduled(job, at)
    if job.status is Status.PROCESSING:
        return _processing(job, at)
    return Stale("nothing is due")


def times(job: Job, limits: TimeLimits) -> Iterator[datetime]:
    """The moments at which something is due for ``job``."""
    if job.terms.deadline is not None:
        yield job.terms.deadline
    if job.run_at is not None:
        yield job.run_at
    if job.status is Status.PROCESSING:
        if (end := _end(job, limits)) is not None:
            yield end[0]
        for unit in job.units.values():
            if unit.state is UnitState.WAITING and unit.retry_at is not None:
                yield unit.retry_at


def _scheduled(job: Job, at: Circumstances) -> Outcome:
    if job.run_at is not None and job.run_at > at.now:
        return Stale("its time has not come")
    waiting = replace(job, status=Status.PENDING, run_at=None, queued_at=at.now)
    return changed(waiting, at, "its time has come")


def _processing(job: Job, at: Circumstances) -> Outcome:
    end = _end(job, at.times)
    if end is not None and end[0] <= at.now:
        problem = late(Code.JOB_TIMED_OUT, end[1])
        return failed(job, at, problem, problem.title)
    units = {
        name: Unit(UnitState.ORDERED, unit.attempt + 1, unit.failures)
        if unit.state is UnitState.WAITING and unit.retry_at and unit.retry_at <= at.now
        else unit
        for name, unit in job.units.items()
    }
    again = tuple(name for name in units if units[name] != job.units[name])
    if not again:
        return Stale("nothing is due")
    job, words = next_orders(replace(job, units=units), at.window, again=again)
    return changed(job, at, "", *words)


def _end(job: Job, limits: TimeLimits) -> tuple[datetime, str] | None:
    """When its time is over, and which limit says so."""
    ends = []
    if job.phase is not None and job.phase_at is not None:
        seconds = limits.phases[job.phase]
        ends.append((job.phase_at + timedelta(seconds=seconds), f"{job.phase}: {seconds:g} s"))
    if job.resumed_at is not None:
        ends.append((job.resumed_at + timedelta(seconds=limits.job), f"job: {limits.job:g} s"))
    return min(ends, default=None)
