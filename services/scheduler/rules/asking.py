"""What clients ask for: submit, cancel, retry, hold, release, move, prioritize, delete."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.scheduler.decision import Circumstances, Outcome, Refusal, Removed, Repeated
from services.scheduler.rules.record import (
    LOST,
    attempts_of,
    bequeathed,
    changed,
    ended,
    from_the_start,
    refuse,
    unclaimed,
    without_chunks,
    without_plan,
)
from services.scheduler.rules.sharing import completed_like, with_track_of
from services.scheduler.wishes import another_run
from shared.contracts.commands import (
    CancelJob,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryJob,
    SubmitJob,
    digest_of,
)
from shared.contracts.job import Job, Phase, Status
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import UNIT_PREPARE, UNIT_SOURCE, RemoveWork, StopOrder, SweepWork
from shared.errors import Code

if TYPE_CHECKING:
    from services.scheduler.decision import Expired

#: A refusal for want of room must reach the gateway before it tells its client "accepted": by
#: this much, clocks that differ included.
ANSWER_MARGIN: Final = timedelta(seconds=1)


def submit(_: None, command: SubmitJob, at: Circumstances) -> Outcome:
    """A new job, if there is room for it."""
    request = digest_of(command)
    if at.removed:
        gone = at.removed == request
        return refuse(Code.JOB_REMOVED if gone else Code.JOB_EXISTS, command.job_id)
    others = at.others
    if at.full is not None and others.made is None and may_refuse(command.answer_by, at):
        return Refusal(at.full)
    terms = command.terms
    waits = terms.run_at is not None and terms.run_at > at.now
    job = Job(
        id=command.job_id,
        source=command.source,
        options=command.options,
        terms=terms,
        batch=command.batch,
        status=Status.SCHEDULED if waits else Status.PENDING,
        created_at=at.now,
        updated_at=at.now,
        queued_at=None if waits else at.now,
        run_at=terms.run_at if waits else None,
        attempt_floor=at.floor,
        # Of a job with this id that was removed another one may have taken the run over.
        run=another_run(command.job_id, str(at.floor)) if at.floor else "",
        traceparent=command.traceparent,
        request=request,
    )
    if others.made is not None:
        return completed_like(job, others.made, at, f"submitted; the result is {others.made.id}'s")
    if others.fetched is not None:
        job = with_track_of(job, others.fetched, at)
        return changed(job, at, f"submitted; the track is {others.fetched.id}'s")
    return changed(job, at, "submitted")


def may_refuse(answer_by: datetime | None, at: Circumstances) -> bool:
    """Whether the client has surely not been told yet that it is accepted."""
    return answer_by is not None and at.now < answer_by - ANSWER_MARGIN


def submit_again(job: Job, command: SubmitJob, _: Circumstances) -> Outcome:
    """The same submission once more is answered with the job; another one is refused."""
    same = job.request == digest_of(command) if job.request else job.source == command.source
    return Repeated(job) if same else refuse(Code.JOB_EXISTS, job.id)


def cancel(job: Job, _: CancelJob, at: Circumstances) -> Outcome:
    """End it; what was computed is swept away, or left to a job that has followed."""
    over = ended(job, Status.CANCELLED, at)
    if not job.units:
        return changed(over, at, "cancelled", *unclaimed(job, at))
    floor = attempts_of(job)
    if not at.others.heir:
        over = without_chunks(over)
    kept = {name: unit for name, unit in over.units.items() if unit.state is UnitState.DONE}
    over = replace(over, units=kept, attempt_floor=floor)
    stop = StopOrder(job_id=job.id)
    if at.others.heir:
        over, words = bequeathed(over, at)
        note = f"cancelled; {at.others.heir} goes on with it"
        return changed(over, at, note, stop, *words)
    sweep = SweepWork(job_id=job.id, attempt=max(over.attempt_floor, 1), run=job.run)
    return changed(over, at, "cancelled", stop, sweep, *unclaimed(job, at))


def again(job: Job, _: CancelJob, __: Circumstances) -> Outcome:
    """It is so already."""
    return Repeated(job)


def retry(job: Job, _: RetryJob, at: Circumstances) -> Outcome:
    """Back to waiting; what is done stays done, what is not starts with a clean record."""
    if job.error is not None and job.error.code in LOST:
        job = from_the_start(job)
    if job.error is not None and job.error.code is Code.MODEL_CHANGED:
        job = without_plan(job)
    if job.legacy is not None:
        job = without_chunks(job)  # they are another job's by now
    units = {
        name: unit if unit.state is UnitState.DONE else Unit(UnitState.WAITING, unit.attempt)
        for name, unit in job.units.items()
    }
    if job.phase is Phase.FINALIZATION and not job.units.keys() - {UNIT_SOURCE, UNIT_PREPARE}:
        job = replace(job, phase=Phase.SEPARATION)  # a cancel swept the chunks away
    deadline = job.terms.deadline
    if deadline is not None and deadline <= at.now:
        job = replace(job, terms=replace(job.terms, deadline=None))
    waiting = replace(
        job,
        status=Status.PENDING,
        units=units,
        queued_at=at.now,
        restarts=0,
        error=None,
        finished_at=None,
    )
    return changed(waiting, at, "retried")


def hold(job: Job, _: HoldJob, at: Circumstances) -> Outcome:
    """It keeps its place and is passed over."""
    if job.held_at is not None:
        return Repeated(job)
    return changed(replace(job, held_at=at.now), at, "held")


def release(job: Job, _: ReleaseJob, at: Circumstances) -> Outcome:
    """It may have its turn again."""
    if job.held_at is None:
        return Repeated(job)
    return changed(replace(job, held_at=None), at, "released")


def front(job: Job, _: FrontJob, at: Circumstances) -> Outcome:
    """It is next, before whatever was moved there earlier."""
    return changed(replace(job, front_at=at.now), at, "moved to the front")


def prioritize(job: Job, command: PrioritizeJob, at: Circumstances) -> Outcome:
    """It has another priority from now on."""
    if job.terms.priority is command.priority:
        return Repeated(job)
    terms = replace(job.terms, priority=command.priority)
    return changed(replace(job, terms=terms), at, f"priority {command.priority}")


def delete(job: Job, _: DeleteJob, at: Circumstances) -> Outcome:
    """Forget it, and its id."""
    return Removed(job, _removal(job, at), request="")


def expire(job: Job, _: Expired, at: Circumstances) -> Outcome:
    """Forget it; but the same submission again is known for what it is."""
    return Removed(job, _removal(job, at), request=job.request)


def _removal(job: Job, at: Circumstances) -> tuple[RemoveWork]:
    track = job.track.id if job.track and not at.track_shared else None
    result = job.result.id if job.result and not at.result_shared else None
    attempt = max(attempts_of(job), 1)
    # Whoever has come upon the same track or result since has touched it, and keeps it.
    before = job.finished_at or at.now
    # Its run may be another's by now; what nobody has come for goes with it.
    run = job.legacy.run if job.legacy and at.others.unclaimed else job.run
    work = RemoveWork(
        job_id=job.id, attempt=attempt, before=before, run=run, track=track, result=result
    )
    return (work,)
