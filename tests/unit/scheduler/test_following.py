"""Rules of jobs at the same time: who follows whom, who goes on with what is left."""

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
from shared.contracts.commands import CancelJob, DeleteJob, HoldJob, RetryJob
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
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, TERMINAL, at, live
from tests.support.twins import LEADER, MADE, bequeathing, follower, other

CANCEL, RETRY = CancelJob(job_id=JOB), RetryJob(job_id=JOB)
TURN, ENDED, ANSWERED = Dispatched(JOB), LeaderEnded(JOB), Answered(JOB)
LOST = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))


def took_over(leader: Job | None = None, job: Job | None = None) -> Job:
    """A follower that goes on with what its leader has left."""
    left = leader or bequeathing(jobs.separating(1))
    return live(follower(job), ENDED, others=Others(leader=left))


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
        replace(other(jobs.pending()), follows="third"),
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
