"""What time brings: limits, deadlines, a job's own time to start."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import Dispatched, Due, Stale, TimeLimits
from shared.contracts.commands import CancelJob, HoldJob, RetryJob
from shared.contracts.job import Job, Phase, Status
from shared.contracts.request import Terms
from shared.contracts.work import StopOrder
from shared.errors import Code
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, at, live

LIMITS = TimeLimits(
    phases={Phase.DOWNLOAD: 10.0, Phase.SEPARATION: 20.0, Phase.FINALIZATION: 5.0}, job=100.0
)
DUE = Due(JOB)


@pytest.mark.parametrize(
    ("job", "seconds", "detail"),
    [
        (jobs.downloading(), 10.0, "download: 10 s"),
        (jobs.preparing(), 20.0, "separation: 20 s"),
        (jobs.separating(2), 20.0, "separation: 20 s"),
        (jobs.finalizing(), 5.0, "finalization: 5 s"),
        (replace(jobs.separating(), phase_at=NOW + timedelta(seconds=95)), 100.0, "job: 100 s"),
        (replace(jobs.separating(), phase_at=None), 100.0, "job: 100 s"),
    ],
)
def test_a_phase_and_a_whole_run_may_take_only_so_long(
    job: Job, seconds: float, detail: str
) -> None:
    early = advance(job, DUE, at(NOW + timedelta(seconds=seconds - 0.001), times=LIMITS))
    assert early == Stale("nothing is due")
    ended = live(job, DUE, now=NOW + timedelta(seconds=seconds), times=LIMITS)
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.error.detail, ended.error.retryable) == (
        Status.FAILED,
        Code.JOB_TIMED_OUT,
        detail,
        True,
    )
    assert (StopOrder(job_id=JOB),) == ended.outbox


def test_the_time_limits_begin_anew_when_a_job_is_started_again() -> None:
    ended = live(jobs.downloading(), DUE, now=LATER, times=LIMITS)
    again = live(ended, RetryJob(job_id=JOB), Dispatched(JOB), now=LATER, times=LIMITS)
    early = advance(again, DUE, at(LATER + timedelta(seconds=9), times=LIMITS))
    assert isinstance(early, Stale)
    assert again.error is None
    assert LATER == again.resumed_at == again.phase_at


def test_a_job_that_waits_for_its_turn_runs_out_of_no_time() -> None:
    for job in (jobs.pending(), jobs.retried(), live(jobs.pending(), HoldJob(job_id=JOB))):
        assert isinstance(advance(job, DUE, at(NOW + timedelta(days=99))), Stale)


@pytest.mark.parametrize(
    "job", [jobs.scheduled(), jobs.pending(), jobs.downloading(), jobs.separating()]
)
def test_what_has_not_ended_by_its_deadline_fails(job: Job) -> None:
    job = replace(job, terms=replace(job.terms, deadline=LATER))
    assert isinstance(advance(job, DUE, at(LATER - timedelta(seconds=1))), Stale)
    ended = live(job, DUE, now=LATER)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (Status.FAILED, Code.JOB_DEADLINE_PASSED)
    assert bool(job.units) == (StopOrder(job_id=JOB) in ended.outbox)
    assert (ended.run_at, ended.held_at, ended.front_at) == (None, None, None)


def test_what_ended_before_its_deadline_stays_as_it_is() -> None:
    for make in (jobs.completed, jobs.broken, jobs.cancelled):
        job = replace(make(), terms=Terms(deadline=NOW))
        assert isinstance(advance(job, DUE, at(LATER)), Stale)


def test_a_retry_after_the_deadline_has_none_and_before_it_keeps_it() -> None:
    job = live(
        replace(jobs.separating(), terms=Terms(owner="a", deadline=LATER)), CancelJob(job_id=JOB)
    )
    retry = RetryJob(job_id=JOB)
    assert live(job, retry).terms == Terms(owner="a", deadline=LATER)
    assert live(job, retry, now=LATER).terms == Terms(owner="a")


def test_a_job_whose_time_has_come_waits_from_then_on() -> None:
    job = live(jobs.scheduled(), DUE, now=LATER)
    assert (job.status, job.run_at, job.queued_at) == (Status.PENDING, None, LATER)
    assert job.terms.run_at == LATER  # as it was asked for


def test_a_held_job_gets_no_turn_but_its_time_may_come() -> None:
    held = live(jobs.scheduled(), HoldJob(job_id=JOB))
    waiting = live(held, DUE, now=LATER)
    assert (waiting.status, waiting.held_at) == (Status.PENDING, NOW)
    assert Stale("it is held, or follows another") == advance(waiting, Dispatched(JOB), at(LATER))


def test_a_start_is_dated_the_first_time_and_every_time() -> None:
    job = live(jobs.separating(), CancelJob(job_id=JOB), RetryJob(job_id=JOB))
    again = live(job, Dispatched(JOB), now=LATER)
    assert (again.started_at, again.resumed_at, again.phase_at) == (NOW, LATER, LATER)
