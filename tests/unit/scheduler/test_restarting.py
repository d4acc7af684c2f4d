"""Stored files that were lost or damaged are made anew, a bounded number of times."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler.decision import Dispatched, RetryLimits
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.facts import Failed
from shared.contracts.job import Job, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    DownloadWork,
    SeparateWork,
    Stage,
)
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, done, live

LOST = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))
CORRUPT = Problem.of(TerminalError(Code.BLOB_CORRUPT, "it is damaged"))


def lost(stage: Stage, unit: str, attempt: int = 1, problem: Problem = LOST) -> Failed:
    return jobs.failed(stage, unit, attempt, problem=problem)


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
    assert (order.attempt, again.phase, again.track, again.plan) == (2, Phase.DOWNLOAD, None, None)
    assert again.progress == job.progress
    assert list(again.units) == [UNIT_SOURCE]


def test_attempts_count_on_through_every_restart() -> None:
    job, attempt = jobs.separating(), 1
    for restart in range(1, RetryLimits().restarts + 1):
        job = live(job, lost(Stage.SEPARATE, "0", attempt))
        assert job.restarts == restart
        attempt = job.units[UNIT_SOURCE].attempt
        job = live(job, jobs.downloaded(attempt), jobs.prepared(attempt))
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
