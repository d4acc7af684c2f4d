"""Rules of jobs that ask for the same: results and tracks that are there are taken."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Answered,
    Dispatched,
    LeaderEnded,
    Others,
    Refusal,
    Repeated,
    Stale,
)
from services.scheduler.wishes import another_run
from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.job import Job, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    DownloadWork,
    PrepareWork,
    SeparateWork,
    Stage,
    SweepWork,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, TERMINAL, at, live, ordered
from tests.support.twins import LEADER, MADE, follower

CANCEL, RETRY = CancelJob(job_id=JOB), RetryJob(job_id=JOB)
TURN, ENDED, ANSWERED = Dispatched(JOB), LeaderEnded(JOB), Answered(JOB)
FULL = Problem.of(RetryableError(Code.QUEUE_FULL, "at most 1"))
LOST = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))


def assert_the_same_came_of(job: Job, made: Job) -> None:
    assert (job.status, job.phase, job.progress) == (Status.COMPLETED, Phase.FINALIZATION, 100.0)
    assert (job.result, job.track, job.plan) == (made.result, made.track, made.plan)
    assert (job.metadata, job.fetched_at) == (made.metadata, made.fetched_at)
    assert (job.finished_at, job.follows, job.error) == (LATER, None, None)


@pytest.mark.parametrize(
    ("job", "stimulus", "others"),
    [
        (None, jobs.submit(), Others(made=MADE)),
        (jobs.pending(), TURN, Others(made=MADE)),
        (jobs.pending(), ANSWERED, Others(made=MADE)),
        (follower(), ENDED, Others(leader=MADE)),
    ],
    ids=["submitted", "its turn", "made meanwhile", "its leader's"],
)
def test_what_is_there_is_taken_and_nothing_is_ordered(
    job: Job | None, stimulus: SubmitJob | Dispatched | Answered | LeaderEnded, others: Others
) -> None:
    job = live(job, stimulus, now=LATER, others=others)
    assert_the_same_came_of(job, MADE)
    assert job.outbox == ()
    assert job.timeline[-1].note.endswith("the result is other's")
    # It has never run.
    assert (job.started_at, job.resumed_at, job.chunks_done) == (None, None, 0)


def test_what_takes_no_place_needs_no_room() -> None:
    command = replace(jobs.submit(), answer_by=LATER)
    full = advance(None, command, at(full=FULL, others=Others(fetched=MADE)))
    assert full == Refusal(FULL)
    assert live(None, command, full=FULL, others=Others(made=MADE)).status is Status.COMPLETED


def test_a_submission_that_was_answered_at_once_and_comes_again_is_the_same_job() -> None:
    job = live(None, jobs.submit(), others=Others(made=MADE))
    assert advance(job, jobs.submit(reply_to="again"), at()) == Repeated(job)


def test_a_track_that_is_there_is_not_downloaded() -> None:
    early = live(None, jobs.submit(), others=Others(fetched=LEADER))
    assert (early.status, early.phase, early.outbox) == (Status.PENDING, Phase.SEPARATION, ())
    late = live(jobs.pending(), TURN, others=Others(fetched=LEADER))
    for job, note in ((live(early, TURN), "submitted"), (late, "started")):
        assert (job.track, job.metadata) == (LEADER.track, LEADER.metadata)
        assert job.fetched_at == LEADER.fetched_at
        (order,) = job.outbox
        assert isinstance(order, PrepareWork)
        assert f"{note}; the track is other's" in [line.note for line in job.timeline]


def test_a_borrowed_track_that_is_lost_is_downloaded_after_all() -> None:
    job = live(jobs.pending(), TURN, others=Others(fetched=LEADER))
    job = live(job, jobs.failed(Stage.SEPARATE, UNIT_PREPARE, problem=LOST))
    (order,) = job.outbox
    assert isinstance(order, DownloadWork)
    assert (job.track, job.fetched_at, job.restarts) == (None, None, 1)
    assert live(job, jobs.downloaded(order.attempt), now=LATER).fetched_at == LATER


def test_a_job_with_a_track_of_its_own_keeps_it() -> None:
    job = live(jobs.retried(), TURN, others=Others(fetched=MADE))
    assert [type(word) for word in job.outbox] == [SeparateWork, SeparateWork]


def test_a_plan_that_leads_to_a_result_that_is_there_ends_the_job() -> None:
    job = live(jobs.preparing(), jobs.prepared(), now=LATER, others=Others(made=MADE))
    assert (job.status, job.result, job.track) == (
        Status.COMPLETED,
        MADE.result,
        jobs.preparing().track,
    )
    assert job.plan == jobs.prepared().plan
    assert job.timeline[-1].note == "model htdemucs; the result is other's"
    (sweep,) = job.outbox
    assert isinstance(sweep, SweepWork)
    assert advance(job, jobs.prepared(), at()) == Repeated(job)
    assert isinstance(advance(job, jobs.prepared(2), at()), Stale)


def test_what_completed_a_job_is_what_is_said_again() -> None:
    """The preparation of one that was finalized is over."""
    assert advance(jobs.completed(), jobs.finalized(), at()) == Repeated(jobs.completed())
    assert isinstance(advance(jobs.completed(), jobs.prepared(), at()), Stale)


def test_one_that_had_begun_by_itself_sweeps_before_it_gets_what_it_wants() -> None:
    """What an unfinished job has to say is said after a crash; what an ended one has, is not."""
    finalizing = live(
        jobs.finalizing(), jobs.failed(Stage.FINALIZE, "stems", problem=TERMINAL), RETRY
    )
    for begun, others in (
        (jobs.retried(), Others(made=MADE)),
        (finalizing, Others(made=MADE)),
        (live(jobs.retried(), TURN, others=Others(leader=LEADER)), Others(leader=MADE)),
    ):
        told = ENDED if begun.follows else TURN
        job = live(begun, told, others=others)
        assert (job.status, job.phase, job.chunks_done) == (Status.PENDING, Phase.SEPARATION, 0)
        (sweep,) = job.outbox
        assert isinstance(sweep, SweepWork)
        assert (sweep.run, sweep.attempt) == ("", 1)
        job = live(job, told, others=others, now=LATER)
        assert_the_same_came_of(job, MADE)
        assert job.outbox == ()


def test_a_job_made_anew_after_its_removal_computes_elsewhere() -> None:
    """Another one may have taken the run of that id over."""
    assert live(None, jobs.submit()).run_id == JOB
    anew = live(None, jobs.submit(), floor=7)
    assert anew.run_id not in {JOB, another_run(JOB, JOB)}


def test_the_unit_that_was_borrowed_does_not_hide_an_attempt_that_was_made() -> None:
    job = replace(jobs.pending(), units={UNIT_SOURCE: ordered(3)}, attempt_floor=2)
    job = live(job, TURN, others=Others(fetched=LEADER))
    assert job.units[UNIT_SOURCE].attempt == 3
