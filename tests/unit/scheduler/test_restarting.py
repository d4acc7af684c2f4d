"""Stored files that were lost or damaged are made anew, a bounded number of times."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import Dispatched, Due, RetryLimits, Stale
from services.scheduler.progress import SPANS
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.facts import Failed, Finalized, Separated
from shared.contracts.job import Job, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
    Stage,
    Word,
    WorkBase,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, done, live

LOST = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))
CORRUPT = Problem.of(TerminalError(Code.BLOB_CORRUPT, "it is damaged"))


def lost(stage: Stage, unit: str, attempt: int = 1, problem: Problem = LOST) -> Failed:
    return jobs.failed(stage, unit, attempt, problem=problem)


def missing(*chunks: int, attempt: int = 1) -> Failed:
    """A finalization that says which chunks are damaged."""
    fact = jobs.failed(Stage.FINALIZE, UNIT_STEMS, attempt, problem=CORRUPT)
    return replace(fact, lost=chunks)


def said(words: tuple[Word, ...]) -> list[tuple[str, int]]:
    return [(word.unit, word.attempt) for word in words if isinstance(word, WorkBase)]


@pytest.mark.parametrize("problem", [LOST, CORRUPT], ids=lambda problem: problem.code)
def test_a_finalization_that_misses_chunks_has_them_computed_again(problem: Problem) -> None:
    job = live(jobs.finalizing(), lost(Stage.FINALIZE, UNIT_STEMS, problem=problem))
    assert (job.status, job.phase, job.restarts) == (Status.PROCESSING, Phase.SEPARATION, 1)
    assert [(type(order), order.unit, order.attempt) for order in job.outbox] == [  # type: ignore[union-attr] # no stop
        (SeparateWork, "0", 2),
        (SeparateWork, "1", 2),
    ]
    assert (job.units[UNIT_SOURCE], job.units[UNIT_PREPARE]) == (done(), done())
    ended = live(
        job,
        jobs.separated(0, 2),
        jobs.separated(1, 2),
        jobs.separated(2, 2),
        jobs.finalized(2),
    )
    assert ended.status == Status.COMPLETED


def test_a_finalization_that_says_which_chunks_are_lost_has_only_them_computed_again() -> None:
    before = jobs.finalizing()
    job = live(before, missing(1))
    assert (job.status, job.phase, job.restarts) == (Status.PROCESSING, Phase.SEPARATION, 1)
    assert said(job.outbox) == [("1", 2)]
    assert (job.units["0"], job.units["2"], job.chunks_done) == (done(), done(), 2)
    assert job.progress == before.progress == SPANS[Phase.FINALIZATION][0]
    again = live(job, jobs.separated(1, 2))
    (order,) = again.outbox
    assert isinstance(order, FinalizeWork)
    assert (order.attempt, order.attempts) == (2, (1, 2, 1))
    assert (again.phase, again.progress) == (Phase.FINALIZATION, before.progress)
    assert live(again, jobs.finalized(2)).status is Status.COMPLETED


def test_no_more_lost_chunks_are_out_at_once_than_others() -> None:
    job = live(jobs.finalizing(), missing(2, 0, 1))
    assert said(job.outbox) == [("0", 2), ("1", 2)]
    assert said(live(job, jobs.separated(0, 2)).outbox) == [("2", 2)]


def test_what_is_lost_again_and_again_counts_on_and_is_given_up_at_last() -> None:
    job = jobs.finalizing()
    for attempt in range(1, RetryLimits().restarts + 1):
        job = live(job, missing(1, attempt=attempt), jobs.separated(1, attempt + 1))
    assert (job.units["0"], job.units["1"]) == (done(), done(RetryLimits().restarts + 1))
    job = live(job, missing(1, attempt=RetryLimits().restarts + 1))
    assert (job.status, job.error) == (Status.FAILED, CORRUPT)


@pytest.mark.parametrize(
    "stale", [jobs.separated(1), jobs.separated(2), jobs.finalized(), missing(1, 2)]
)
def test_what_is_still_said_of_attempts_that_are_lost_changes_nothing(
    stale: Separated | Finalized | Failed,
) -> None:
    job = live(jobs.finalizing(), missing(1, 2), window=1)
    assert said(job.outbox) == [("1", 2)]
    assert isinstance(advance(job, stale, jobs.at()), Stale)


def test_chunks_that_there_never_were_are_not_believed_to_be_lost() -> None:
    job = live(jobs.finalizing(), missing(7, -1))
    assert said(job.outbox) == [("0", 2), ("1", 2)]
    assert job.chunks_done == 0


def test_a_job_that_is_cancelled_while_a_lost_chunk_is_computed_sweeps_every_attempt() -> None:
    job = live(jobs.finalizing(), missing(1), CancelJob(job_id=JOB))
    assert said(job.outbox) == [("sweep", 2)]
    resumed = live(job, RetryJob(job_id=JOB), Dispatched(JOB))
    assert said(resumed.outbox) == [("0", 3), ("1", 3)]


@pytest.mark.parametrize(
    ("job", "unit"),
    [(jobs.preparing(), UNIT_PREPARE), (jobs.separating(), "0"), (jobs.separating(2), "2")],
)
def test_whoever_else_misses_something_misses_the_track_which_is_fetched_again(
    job: Job, unit: str
) -> None:
    again = live(job, lost(Stage.SEPARATE, unit))
    (order,) = again.outbox
    assert isinstance(order, DownloadWork)
    assert (order.attempt, again.phase, again.track) == (2, Phase.DOWNLOAD, None)
    assert again.progress == job.progress
    kept = {name for name, one in job.units.items() if one == done() and name != UNIT_SOURCE}
    assert again.units.keys() == {UNIT_SOURCE, *kept}


@pytest.mark.parametrize("finished", [0, 1, 2, 3])
def test_no_finished_chunk_is_computed_again_where_the_same_track_is_fetched_again(
    finished: int,
) -> None:
    if finished < 3:
        job = live(jobs.separating(finished), lost(Stage.SEPARATE, str(finished)))
    else:
        fact = replace(lost(Stage.FINALIZE, UNIT_STEMS, problem=CORRUPT), track_lost=True)
        job = live(jobs.finalizing(), fact)
    again = live(job, jobs.downloaded(2))
    assert (again.track, again.plan, again.former_track) == (jobs.track(), jobs.plan(), "")
    assert again.chunks_done == finished
    if finished == 3:
        (order,) = again.outbox
        assert isinstance(order, FinalizeWork)
        assert (order.attempt, order.attempts, again.phase) == (2, (1, 1, 1), Phase.FINALIZATION)
    else:
        chunks = range(finished, min(finished + 2, 3))
        assert said(again.outbox) == [(str(chunk), 2) for chunk in chunks]
        assert again.phase is Phase.SEPARATION


def test_a_track_that_is_another_one_when_it_is_fetched_again_is_planned_and_computed_anew() -> (
    None
):
    job = live(jobs.separating(2), lost(Stage.SEPARATE, "2"))
    other = replace(jobs.downloaded(2), track=replace(jobs.track(), id="t2"))
    again = live(job, other)
    (order,) = again.outbox
    assert isinstance(order, PrepareWork)
    assert (order.track.id, again.plan, again.chunks_done) == ("t2", None, 0)
    assert said(live(again, jobs.prepared(order.attempt)).outbox) == [
        ("0", order.attempt),
        ("1", order.attempt),
    ]


def test_attempts_count_on_through_every_restart() -> None:
    job, attempt = jobs.separating(), 1
    for restart in range(1, RetryLimits().restarts + 1):
        job = live(job, lost(Stage.SEPARATE, "0", attempt))
        assert job.restarts == restart
        attempt = job.units[UNIT_SOURCE].attempt
        job = live(job, jobs.downloaded(attempt))
        assert job.units["0"].attempt == attempt == restart + 1
    job = live(job, lost(Stage.SEPARATE, "0", attempt))
    assert (job.status, job.error) == (Status.FAILED, LOST)


def test_a_client_s_retry_allows_as_many_restarts_again() -> None:
    job = live(replace(jobs.separating(), restarts=3), lost(Stage.SEPARATE, "0"))
    again = live(job, RetryJob(job_id=JOB), Dispatched(JOB))
    assert (again.restarts, again.phase) == (0, Phase.DOWNLOAD)
    assert live(jobs.cancelled(), RetryJob(job_id=JOB)).restarts == 0


def test_what_was_out_when_it_was_lost_counts_no_more() -> None:
    job = live(jobs.separating(), lost(Stage.SEPARATE, "0"))
    assert "1" not in job.units
    ended = live(job, CancelJob(job_id=JOB))
    assert ended.attempt_floor == 2


def test_a_finalization_that_misses_the_track_has_it_fetched_anew() -> None:
    fact = replace(lost(Stage.FINALIZE, UNIT_STEMS, problem=CORRUPT), track_lost=True)
    job = live(jobs.finalizing(), fact)
    (order,) = job.outbox
    assert isinstance(order, DownloadWork)
    assert (order.attempt, job.phase, job.track, job.restarts) == (2, Phase.DOWNLOAD, None, 1)
    assert job.units.keys() == {UNIT_SOURCE, UNIT_PREPARE, "0", "1", "2"}


CHANGED = Problem.of(RetryableError(Code.MODEL_CHANGED, "another one"))


def outlived(job: Job, unit: str) -> Job:
    """``job``, whose chunk has failed as often as may be because its model was another one."""
    for failures in range(1, RetryLimits().attempts[Stage.SEPARATE] + 1):
        attempt = job.units[unit].attempt
        job = live(job, jobs.failed(Stage.SEPARATE, unit, attempt, problem=CHANGED))
        if job.units.get(unit) is not None and job.units[unit].retry_at is not None:
            job = live(job, Due(JOB), now=jobs.NOW + timedelta(hours=failures))
    return job


def test_a_job_whose_model_has_changed_is_planned_anew_with_its_track() -> None:
    before = jobs.separating(1)
    job = outlived(before, "1")
    (order,) = [word for word in job.outbox if isinstance(word, WorkBase)]
    assert isinstance(order, PrepareWork)
    assert (job.status, job.phase, job.restarts) == (Status.PROCESSING, Phase.SEPARATION, 1)
    assert (job.plan, job.track, list(job.units)) == (
        None,
        before.track,
        [UNIT_SOURCE, UNIT_PREPARE],
    )
    assert order.attempt > 1
    again = live(job, jobs.prepared(order.attempt))
    assert [word.unit for word in again.outbox if isinstance(word, WorkBase)] == ["0", "1"]


def test_a_retry_of_a_job_whose_model_has_changed_plans_it_anew() -> None:
    job = jobs.separating(1)
    for _ in range(RetryLimits().restarts):
        job = outlived(job, "1")
        job = live(job, jobs.prepared(job.units[UNIT_PREPARE].attempt))
    job = outlived(job, "1")
    assert (job.status, job.error) == (Status.FAILED, CHANGED)
    again = live(job, RetryJob(job_id=JOB), Dispatched(JOB))
    (order,) = [word for word in again.outbox if isinstance(word, WorkBase)]
    assert isinstance(order, PrepareWork)
    assert (again.plan, again.track) == (None, job.track)
