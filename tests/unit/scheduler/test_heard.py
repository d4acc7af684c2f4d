"""A command that took effect and comes again changes nothing, whatever has happened since."""

from __future__ import annotations

import pytest

from services.scheduler.core import Changed, Dispatched, Due, Repeated, advance
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.job import Status
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError
from tests.support import jobs
from tests.support.jobs import JOB, NOW, at, live

CANCEL = CancelJob(job_id=JOB, reply_to="_INBOX.a")
RETRY = RetryJob(job_id=JOB, reply_to="_INBOX.b")


def test_a_cancel_that_comes_again_does_not_cancel_what_was_retried_since() -> None:
    job = live(jobs.separating(), CANCEL, RETRY, Dispatched(JOB))
    assert advance(job, CANCEL, at()) == Repeated(job)


def test_a_retry_that_comes_again_does_not_restart_what_was_cancelled_since() -> None:
    job = live(jobs.broken(), RETRY, CANCEL)
    assert advance(job, RETRY, at()) == Repeated(job)


def test_a_retry_that_comes_again_is_not_refused_to_the_client_whose_retry_it_was() -> None:
    job = live(jobs.broken(), RETRY, Dispatched(JOB))
    assert advance(job, RETRY, at()) == Repeated(job)


def test_another_clients_cancel_is_another_command() -> None:
    job = live(jobs.separating(), CANCEL, RETRY)
    outcome = advance(job, CancelJob(job_id=JOB, reply_to="_INBOX.c"), at())
    assert isinstance(outcome, Changed)
    assert outcome.job.status is Status.CANCELLED


@pytest.mark.parametrize("code", [Code.STORAGE_FULL, Code.STORAGE_UNAVAILABLE])
def test_a_job_waits_long_for_what_the_operator_has_to_mend(code: Code) -> None:
    job = jobs.finalizing()
    attempts = 0
    while job.status is Status.PROCESSING:
        attempts += 1
        name = "stems"
        problem = Problem.of(RetryableError(code))
        job = live(
            job, jobs.failed(jobs.stage_of(name), name, job.units[name].attempt, problem=problem)
        )
        if job.status is not Status.FAILED:
            retry_at = job.units[name].retry_at
            assert retry_at is not None
            assert (retry_at - NOW).total_seconds() >= 15
            job = live(job, Due(JOB), now=retry_at)
    assert (attempts, job.status) == (at().retries.patient_attempts, Status.FAILED)
