"""Rules of jobs that ask for the same: what is taken, who follows whom, who goes on with what."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Answered,
    Changed,
    Dispatched,
    Due,
    LeaderEnded,
    Others,
    Refusal,
    Repeated,
    Stale,
)
from services.scheduler.wishes import another_run
from shared.contracts.commands import CancelJob, DeleteJob, HoldJob, RetryJob, SubmitJob
from shared.contracts.job import Job, Legacy, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Terms
from shared.contracts.unit import UnitState
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_SWEEP_LEFT,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    RemoveWork,
    SeparateWork,
    Stage,
    StopOrder,
    SweepWork,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, TERMINAL, at, live, ordered

CANCEL, RETRY = CancelJob(job_id=JOB), RetryJob(job_id=JOB)
TURN, ENDED, ANSWERED = Dispatched(JOB), LeaderEnded(JOB), Answered(JOB)
FULL = Problem.of(RetryableError(Code.QUEUE_FULL, "at most 1"))
LOST = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))


def other(job: Job) -> Job:
    """The same of another job."""
    return replace(job, id="other")


MADE = other(jobs.completed())
LEADER = other(jobs.separating(1))


def follower(job: Job | None = None) -> Job:
    """A job that follows ``LEADER``."""
    return live(job or jobs.pending(), TURN, others=Others(leader=LEADER))


def bequeathing(job: Job, *, heir: str = JOB) -> Job:
    """``job`` of another id, cancelled while one follows."""
    ended = live(replace(job, id="other"), CancelJob(job_id="other"), others=Others(heir=heir))
    assert ended.legacy is not None
    return ended


def took_over(leader: Job | None = None, job: Job | None = None) -> Job:
    """A follower that goes on with what its leader has left."""
    left = leader or bequeathing(jobs.separating(1))
    return live(follower(job), ENDED, others=Others(leader=left))


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


def test_equal_jobs_follow_the_one_at_work() -> None:
    job = follower()
    assert (job.status, job.follows, job.outbox) == (Status.PENDING, "other", ())
    assert job.timeline[-1].note == "follows other"
    assert isinstance(advance(job, TURN, at(others=Others(made=MADE))), Stale)


@pytest.mark.parametrize("leader", [LEADER, other(jobs.pending())])
def test_whoever_is_at_work_or_about_to_be_is_followed_on(leader: Job) -> None:
    assert isinstance(advance(follower(), ENDED, at(others=Others(leader=leader))), Stale)


@pytest.mark.parametrize(
    "leader",
    [
        None,
        other(jobs.broken()),
        other(jobs.cancelled()),
        other(jobs.scheduled()),
        replace(LEADER, status=Status.PENDING, follows="third"),
        replace(LEADER, status=Status.PENDING, held_at=NOW),
        bequeathing(jobs.separating(1), heir="third"),
    ],
    ids=["deleted", "failed", "cancelled", "waits", "follows", "held", "left to a third"],
)
def test_who_was_left_nothing_waits_for_its_turn(leader: Job | None) -> None:
    job = live(follower(), ENDED, others=Others(leader=leader))
    assert (job.status, job.follows, job.units, job.run) == (Status.PENDING, None, {}, "")
    assert (job.queued_at, job.front_at) == (NOW, None)


def test_who_was_left_nothing_follows_the_heir() -> None:
    left = bequeathing(jobs.separating(1), heir="third")
    job = live(follower(), ENDED, others=Others(leader=left, successor="third"))
    assert (job.status, job.follows) == (Status.PENDING, "third")


def test_a_held_follower_does_not_end_before_it_is_released() -> None:
    held = live(follower(), HoldJob(job_id=JOB))
    job = live(held, ENDED, others=Others(leader=MADE))
    assert (job.status, job.held_at, job.follows) == (Status.PENDING, NOW, None)
    assert isinstance(advance(job, ANSWERED, at(others=Others(made=MADE))), Stale)


@pytest.mark.parametrize(
    "end", [CANCEL, jobs.failed(Stage.SEPARATE, "1", problem=TERMINAL)], ids=["cancelled", "failed"]
)
def test_a_leader_leaves_its_run_to_a_follower(end: CancelJob) -> None:
    job = live(jobs.separating(1), end, others=Others(heir="heir"))
    assert job.status.terminal
    assert job.outbox == (StopOrder(job_id=JOB),)
    assert job.legacy == Legacy(heir="heir", run=JOB)
    assert job.run == another_run(JOB, JOB)
    assert job.units["0"].state is UnitState.DONE


def test_an_heir_goes_on_with_every_finished_chunk_before_all_others() -> None:
    left = bequeathing(jobs.separating(2))
    job = live(follower(), ENDED, others=Others(leader=left), now=LATER)
    assert (job.status, job.follows, job.run, job.front_at) == (
        Status.PENDING,
        None,
        "other",
        LATER,
    )
    assert (job.track, job.plan, job.chunks_done) == (left.track, left.plan, 2)
    assert job.phase is Phase.SEPARATION
    started = live(job, TURN)
    (order,) = started.outbox
    assert isinstance(order, SeparateWork)
    assert (order.chunk, order.run) == (2, "other")
    assert order.attempt > left.attempt_floor
    (last,) = live(started, jobs.separated(2, order.attempt)).outbox
    assert isinstance(last, FinalizeWork)
    assert (last.run, last.attempts) == ("other", (1, 1, order.attempt))


def test_an_heir_of_a_whole_song_only_finalizes_it() -> None:
    left = bequeathing(jobs.finalizing())
    job = took_over(left)
    assert job.phase is Phase.FINALIZATION
    (order,) = live(job, TURN).outbox
    assert isinstance(order, FinalizeWork)


@pytest.mark.parametrize(
    ("leader", "work", "phase"),
    [
        (jobs.downloading(), DownloadWork, None),
        (jobs.preparing(), PrepareWork, Phase.SEPARATION),
    ],
)
def test_an_heir_begins_where_the_leader_was(leader: Job, work: type, phase: Phase | None) -> None:
    job = took_over(bequeathing(leader))
    assert job.phase is phase
    (order,) = live(job, TURN).outbox
    assert isinstance(order, work)


def test_an_heir_does_not_rely_on_what_the_leader_found_missing() -> None:
    broken = live(
        replace(jobs.separating(1), id="other", restarts=9),
        jobs.failed(Stage.SEPARATE, "1", problem=LOST, job_id="other"),
        others=Others(heir=JOB),
    )
    assert broken.error == LOST
    job = took_over(broken)
    assert (job.track, job.plan, job.units, job.phase, job.run) == (None, None, {}, None, "other")
    (order,) = live(job, TURN).outbox
    assert isinstance(order, DownloadWork)


def test_an_heir_sweeps_the_run_that_it_took_over() -> None:
    job = live(took_over(), TURN)
    ended = live(job, CANCEL)
    stop, sweep = ended.outbox
    assert stop == StopOrder(job_id=JOB)
    assert isinstance(sweep, SweepWork)
    assert (sweep.run, sweep.attempt) == ("other", ended.attempt_floor)
    assert ended.attempt_floor >= max(unit.attempt for unit in job.units.values())


def test_an_heir_with_chunks_of_its_own_sweeps_those() -> None:
    job = took_over(job=jobs.retried())
    (sweep,) = job.outbox
    assert isinstance(sweep, SweepWork)
    assert (sweep.unit, sweep.run) == (UNIT_SWEEP_LEFT, JOB)
    assert job.attempt_floor > sweep.attempt


@pytest.mark.parametrize("end", [CANCEL, Due(JOB)])
def test_an_heir_that_ends_before_it_goes_on_sweeps_what_was_left_to_it(
    end: CancelJob | Due,
) -> None:
    job = replace(follower(), terms=Terms(deadline=LATER))
    left = bequeathing(jobs.separating(1))
    ended = live(job, end, now=LATER, others=Others(leader=left))
    assert ended.status.terminal
    assert ended.follows is None
    (sweep,) = ended.outbox
    assert isinstance(sweep, SweepWork)
    assert (sweep.unit, sweep.run, sweep.attempt) == (UNIT_SWEEP_LEFT, "other", left.attempt_floor)
    # Whoever was left nothing, or follows one at work, has nothing to sweep.
    for leader in (None, LEADER, bequeathing(jobs.separating(1), heir="third")):
        assert live(job, end, now=LATER, others=Others(leader=leader)).outbox == ()


def test_a_leader_that_is_retried_computes_elsewhere() -> None:
    left = replace(bequeathing(jobs.separating(2)), id=JOB)
    again = live(left, RETRY, others=Others(unclaimed=True))
    assert again.chunks_done == 0
    assert again.attempt_floor >= left.attempt_floor
    order = live(again, TURN).outbox[0]
    assert isinstance(order, SeparateWork)
    assert (order.run, order.chunk) == (left.run, 0)
    assert left.legacy is not None
    assert order.run != left.legacy.run


def test_an_heir_of_one_that_was_retried_already_takes_the_run_and_no_chunks() -> None:
    left = bequeathing(jobs.separating(2))
    held = live(
        left,
        RetryJob(job_id="other"),
        HoldJob(job_id="other"),
        others=Others(unclaimed=True),
    )
    job = live(follower(), ENDED, others=Others(leader=held))
    assert (job.run, job.chunks_done) == ("other", 0)
    assert job.units.keys() == {UNIT_SOURCE, UNIT_PREPARE}


def test_what_was_left_and_nobody_came_for_goes_with_the_next_legacy() -> None:
    left = replace(bequeathing(jobs.separating(1)), id=JOB)
    again = live(left, RETRY, TURN)
    assert again.legacy == left.legacy
    ended = live(again, CANCEL, others=Others(heir="third", unclaimed=True))
    assert left.legacy is not None
    assert ended.legacy == Legacy(heir="third", run=left.run)
    stop, sweep = ended.outbox
    assert isinstance(stop, StopOrder)
    assert isinstance(sweep, SweepWork)
    assert (sweep.unit, sweep.run) == (UNIT_SWEEP_LEFT, left.legacy.run)


@pytest.mark.parametrize(("unclaimed", "run"), [(True, JOB), (False, another_run(JOB, JOB))])
def test_a_removal_leaves_the_run_that_another_goes_on_with(*, unclaimed: bool, run: str) -> None:
    left = replace(bequeathing(replace(jobs.separating(1), run=JOB)), id=JOB)
    left = replace(left, run=another_run(JOB, JOB))
    outcome = advance(left, DeleteJob(job_id=JOB), at(others=Others(unclaimed=unclaimed)))
    assert not isinstance(outcome, (Changed, Stale, Refusal, Repeated))
    (word,) = outcome.words
    assert isinstance(word, RemoveWork)
    assert word.run == run


def test_a_job_that_took_a_run_over_takes_it_away() -> None:
    job = live(took_over(), TURN, CANCEL)
    outcome = advance(job, DeleteJob(job_id=JOB), at())
    assert not isinstance(outcome, (Changed, Stale, Refusal, Repeated))
    (word,) = outcome.words
    assert isinstance(word, RemoveWork)
    assert word.run == "other"


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
