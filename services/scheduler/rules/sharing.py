"""Never twice: results and tracks that are there are taken, equal jobs follow the one at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.scheduler.decision import Changed, Circumstances, Outcome, Stale
from services.scheduler.rules.record import (
    LOST,
    at_phase,
    attempts_of,
    changed,
    ended,
    has_chunks,
    swept,
    unclaimed,
    with_track,
    with_unit,
    without_chunks,
)
from services.scheduler.wishes import aim_of, parted, result_of, same_stems, wish_of
from shared.contracts.job import Job, Phase, Status
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import UNIT_PREPARE, UNIT_SOURCE, UNIT_STEMS, SweepWork
from shared.errors import Code

if TYPE_CHECKING:
    from services.scheduler.decision import Answered, LeaderEnded

_NO_TRACK: Final = "there is no track to be taken"


def completed_like(job: Job, other: Job, at: Circumstances, note: str) -> Changed:
    """``job``, which waits or is new, with what ``other`` has come to.

    One that had begun by itself once sweeps first, and ends when it is told again: what the
    scheduler tells itself is told once, and what an ended job has to say is not said after a crash.
    """
    if has_chunks(job):
        return _swept_first(job, at)
    song = _own_song(job, other) or other
    same = replace(
        at_phase(job, Phase.FINALIZATION, at),
        track=song.track,
        fetched_at=song.fetched_at,
        metadata=song.metadata,
        plan=other.plan,
        result=other.result,
        resumed_at=None,  # it has not run: how long it took says nothing
    )
    return changed(ended(same, Status.COMPLETED, at), at, note, *unclaimed(job, at))


def _own_song(job: Job, other: Job) -> Job | None:
    """``job``, if it knows by itself of the song: it asked for it in other words than ``other``."""
    return job if result_of(job) is not None and wish_of(job) != wish_of(other) else None


def _swept_first(job: Job, at: Circumstances) -> Changed:
    sweep = SweepWork(job_id=job.id, attempt=attempts_of(job), run=job.run)
    phase = Phase.SEPARATION if job.phase is Phase.FINALIZATION else job.phase
    job = replace(without_chunks(job), phase=phase)
    return changed(job, at, "its own chunks are not needed", sweep)


def with_track_of(job: Job, other: Job, at: Circumstances) -> Job:
    """``job`` with the track of ``other``: nothing is left to be downloaded."""
    known = job.units.get(UNIT_SOURCE)
    done = Unit(UnitState.DONE, max(known.attempt if known else 0, job.attempt_floor))
    if other.track is None:
        raise AssertionError(_NO_TRACK)
    job = with_unit(replace(job, metadata=other.metadata), UNIT_SOURCE, done)
    return with_track(job, other.track, other.fetched_at, at)


def following(job: Job, leader: Job) -> Job:
    """``job``, waiting for what comes of ``leader``, which is at work on the same."""
    return replace(job, status=Status.PENDING, follows=leader.id)


def answered(job: Job, _: Answered, at: Circumstances) -> Outcome:
    """What it asks for is there before its turn has come."""
    made = at.others.made
    if made is None or job.held_at is not None or job.follows is not None:
        return Stale("nothing is there for it")
    return completed_like(job, made, at, f"the result is {made.id}'s")


def leader_ended(job: Job, _: LeaderEnded, at: Circumstances) -> Outcome:
    """Whom it followed is not at work any more: take what came of it, or go on with it."""
    leader = at.others.leader
    if job.follows is None:
        return Stale("it follows nobody")
    if leader is not None and leads(leader) and not parted(aim_of(job), aim_of(leader)):
        return Stale("its leader goes on")
    taken = _taken(job, leader, at) if leader is not None else None
    if taken is not None:
        return taken
    if at.others.successor:
        note = f"follows {at.others.successor}"
        return changed(replace(job, follows=at.others.successor), at, note)
    note = f"{job.follows} does not go on with it; waits for its turn"
    return changed(replace(job, follows=None), at, note)


def _taken(job: Job, leader: Job, at: Circumstances) -> Changed | None:
    """What is left for ``job`` of whom it has followed: a result, a run, or another to follow."""
    if _serves(leader, job):
        return completed_like(job, leader, at, f"the result is {leader.id}'s")
    if leader.legacy is not None and leader.legacy.heir == job.id:
        return _heir(job, leader, leader.legacy.run, at)
    if _leads_on(leader, job):
        job = replace(_planned_like(job, leader), follows=leader.follows)
        return changed(job, at, f"follows {leader.follows}, as {leader.id} does")
    return None


def _serves(leader: Job, job: Job) -> bool:
    """Whether ``job`` may have the result: its leader may have made another song in the end."""
    if leader.result is None or job.held_at is not None:
        return False
    return wish_of(job) == wish_of(leader) or result_of(job) == leader.result.id


def leads(job: Job) -> bool:
    """Whether something will come of following it: it is at work, or its turn comes."""
    waits = job.status is Status.PENDING and job.held_at is None and job.follows is None
    return waits or job.status is Status.PROCESSING


def _leads_on(leader: Job, job: Job) -> bool:
    """Whether the leader of ``job`` has found another one to follow, which serves ``job``, too."""
    waits = (
        leader.status is Status.PENDING and leader.held_at is None and leader.follows is not None
    )
    new = job.plan is None and job.held_at is None
    return waits and new and wish_of(job) == wish_of(leader) and result_of(leader) is not None


def _planned_like(job: Job, other: Job) -> Job:
    """``job``, not planned itself, with all that is known of ``other``, which asks for the same."""
    units = {
        name: Unit(UnitState.DONE, max(other.units[name].attempt, attempts_of(job)))
        for name in (UNIT_SOURCE, UNIT_PREPARE)
        if name in other.units
    }
    return replace(
        job,
        phase=other.phase,
        track=other.track,
        fetched_at=other.fetched_at,
        metadata=other.metadata,
        plan=other.plan,
        units=units,
    )


def _heir(job: Job, leader: Job, run: str, at: Circumstances) -> Changed:
    """``job`` with all that ``leader`` has done, to be started before all others.

    Its turn comes as any other's, so that no limit is passed.  The attempts of either never meet:
    the leader computes in another run, should it be retried, and may be about another song by
    then: of one that only asked for it in other words nothing but the run is taken over.  Nor is
    that of one that has done less than ``job`` had done by itself.
    """
    # One more than there was: what sweeps the run that is given up is told once.
    floor = max(attempts_of(job), attempts_of(leader)) + 1
    mine, its = aim_of(job), aim_of(leader)
    left = leader.chunks_done if leader.status.terminal else 0
    if mine.result is not None and mine.result == its.result and job.chunks_done > left:
        job = replace(job, follows=None, front_at=at.now, attempt_floor=floor)
        sweep = swept(job, run, attempts_of(leader))
        return changed(job, at, f"goes on with what it has done, more than {leader.id}", sweep)
    own = job.attempt_floor > 0 or has_chunks(job)
    words = [swept(job, job.run_id, attempts_of(job))] if own else []
    best = leader if same_stems(mine, its) else job
    code = best.error.code if best.error is not None else None
    lost, replanned = code in LOST, code is Code.MODEL_CHANGED
    # One that was retried already has dropped its chunks, or makes others.
    chunks = best.status.terminal
    units = {
        name: unit
        for name, unit in best.units.items()
        if unit.state is UnitState.DONE and name != UNIT_STEMS and (chunks or not name.isdigit())
    }
    if replanned:  # by a model that there is not any more
        units = {name: unit for name, unit in units.items() if name == UNIT_SOURCE}
    song = _own_song(job, best) or best
    job = replace(
        job,
        follows=None,
        front_at=at.now,
        run=run,
        track=None if lost else song.track,
        former_track="" if lost else best.former_track,
        fetched_at=None if lost else song.fetched_at,
        metadata=song.metadata,
        plan=None if lost or replanned else best.plan,
        units={} if lost else units,
        attempt_floor=floor,
    )
    job = replace(job, phase=_reached(job))
    return changed(job, at, f"goes on with what {leader.id} has done", *words)


def _reached(job: Job) -> Phase | None:
    """The phase that its units tell of."""
    if job.track is None or UNIT_SOURCE not in job.units:
        return None
    if job.plan is not None and job.chunks_done == job.plan.chunks:
        return Phase.FINALIZATION
    return Phase.SEPARATION
