"""Which job's chunks go out next: as many as the separators have slots.  Pure.

No chunk waits behind another in the broker's queue: who comes next is decided when a slot is
free, so that a short song is held up by no more of a long one than the chunks that are running.
The job with the least left goes first (shortest remaining time: the least waiting for all), but
of ``PATIENCE`` chunks one may go to whoever was passed over longest, so that all get on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from services.scheduler.dispatch import LEVELS
from shared.contracts.job import Job, Phase
from shared.contracts.unit import UnitState
from shared.contracts.work import UNIT_PREPARE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: More chunks than a song of five minutes has: such a song is hardly ever interrupted.  Of n jobs
#: that want a slot, each gets one within this many times n.
PATIENCE: Final = 12

#: How often chunks of others went out since the last one of a job's that waits for its turn.
Passed = Mapping[str, int]


class Tally(NamedTuple):
    """What a processing job wants of the separators."""

    job_id: str
    level: int
    #: Seconds of audio whose chunks are not done.
    seconds: float
    created_at: datetime
    #: Chunks that are out; those that could be.
    out: int
    idle: int
    #: Separator slots taken otherwise: a preparation.
    other: int = 0


def tally(job: Job) -> Tally:
    """The wants of a processing job."""
    out = idle = other = waits = 0
    seconds = 0.0
    if job.phase is Phase.SEPARATION:
        seconds = job.track.seconds if job.track else 0.0
        prepare = job.units.get(UNIT_PREPARE)
        other = int(prepare is not None and prepare.state is UnitState.ORDERED)
        if job.plan is not None and job.track is not None:
            states = [unit for name, unit in job.units.items() if name.isdigit()]
            done = sum(unit.state is UnitState.DONE for unit in states)
            out = sum(unit.state is UnitState.ORDERED for unit in states)
            waits = sum(unit.retry_at is not None for unit in states)
            left = job.plan.chunks - done
            # While one of its chunks waits for its next attempt, no new ones go out: they would
            # fail of the same, one after the other.
            idle = 0 if waits else left - out
            seconds = job.track.seconds * left / job.plan.chunks
    return Tally(job.id, LEVELS[job.terms.priority], seconds, job.created_at, out, idle, other)


def windows(tallies: Iterable[Tally], slots: int, passed: Passed) -> dict[str, int]:
    """How many chunks each job may have out, those that are out already included."""
    jobs = {one.job_id: one for one in tallies}
    allowed = {one.job_id: one.out for one in jobs.values()}
    free = slots - sum(one.out + one.other for one in jobs.values())
    while free > 0 and (wanting := [one for one in jobs.values() if one.idle > 0]):
        patience = PATIENCE * len(wanting)
        turn = min(wanting, key=lambda one: _place(one, passed.get(one.job_id, 0), patience))
        allowed[turn.job_id] += 1
        free -= 1
        passed = passed_over(passed, jobs.values(), turn.job_id, 1)
        jobs[turn.job_id] = turn._replace(idle=turn.idle - 1)
    return allowed


def passed_over(passed: Passed, tallies: Iterable[Tally], job_id: str, granted: int) -> Passed:
    """How often each job was passed over, after ``granted`` chunks of ``job_id`` went out."""
    return {
        one.job_id: passed.get(one.job_id, 0) + granted
        for one in tallies
        if one.job_id != job_id and one.idle > 0
    }


def _place(one: Tally, passed: int, patience: int) -> tuple[bool, int, int, float, datetime, str]:
    starving = passed >= patience
    return (
        not starving,
        -passed if starving else 0,
        one.level,
        one.seconds,
        one.created_at,
        one.job_id,
    )
