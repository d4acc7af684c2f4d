"""What clients ask for: to be let in, to wait otherwise, to be forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Changed,
    Dispatched,
    Expired,
    Refusal,
    Removed,
    Repeated,
)
from services.scheduler.rules.asking import ANSWER_MARGIN
from shared.contracts.commands import (
    CancelJob,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryJob,
    digest_of,
)
from shared.contracts.job import Job, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Priority
from shared.contracts.work import RemoveWork
from shared.errors import Code, RetryableError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, at, live

FULL = Problem.of(RetryableError(Code.QUEUE_FULL, "at most 1", retry_after=7.0))
HOLD, RELEASE, FRONT = HoldJob(job_id=JOB), ReleaseJob(job_id=JOB), FrontJob(job_id=JOB)
DELETE, EXPIRED = DeleteJob(job_id=JOB), Expired(JOB)
WAITING = [jobs.scheduled(), jobs.pending(), jobs.retried()]
ENDED = [jobs.completed(), jobs.broken(), jobs.cancelled()]


@pytest.mark.parametrize(
    ("answer_by", "refused"),
    [
        (None, False),
        (NOW + timedelta(seconds=60), True),
        (NOW + ANSWER_MARGIN + timedelta(microseconds=1), True),
        # By now the client may have been told that it is accepted, and accepted means kept.
        (NOW + ANSWER_MARGIN, False),
        (NOW, False),
        (NOW - timedelta(hours=1), False),
    ],
)
def test_for_want_of_room_only_those_are_refused_who_have_not_been_told_yes(
    answer_by: object, *, refused: bool
) -> None:
    command = replace(jobs.submit(), answer_by=answer_by)
    outcome = advance(None, command, at(full=FULL))
    assert (outcome == Refusal(FULL)) is refused
    assert isinstance(outcome, Changed) is not refused
    assert isinstance(advance(None, command, at()), Changed)


@pytest.mark.parametrize("job", [*WAITING, jobs.separating(), *ENDED])
def test_a_submission_that_comes_again_needs_no_room(job: Job) -> None:
    known = replace(job, request=digest_of(jobs.submit()))
    again = replace(jobs.submit(), answer_by=LATER)
    assert advance(known, again, at(full=FULL)) == Repeated(known)


def test_a_submission_is_the_same_whoever_waits_for_its_answer() -> None:
    first = jobs.submit(reply_to="a")
    second = replace(first, reply_to="b", answer_by=LATER, traceparent="00-1-2-01")
    assert digest_of(first) == digest_of(second)
    assert digest_of(first) != digest_of(jobs.submit(owner="another"))


@pytest.mark.parametrize(
    ("removed", "code"),
    [(digest_of(jobs.submit()), Code.JOB_REMOVED), ("another", Code.JOB_EXISTS)],
)
def test_what_was_removed_lately_is_not_made_anew(removed: str, code: Code) -> None:
    outcome = advance(None, jobs.submit(), at(removed=removed))
    assert isinstance(outcome, Refusal)
    assert (code, False) == (outcome.problem.code, outcome.problem.retryable)


@pytest.mark.parametrize("job", WAITING, ids=lambda job: job.status)
class TestWaiting:
    """A job that waits, however it came to that."""

    def test_hold_and_release(self, job: Job) -> None:
        held = live(job, HOLD, now=LATER)
        assert (held.held_at, held.status) == (LATER, job.status)
        assert advance(held, HOLD, at(LATER)) == Repeated(held)
        free = live(held, RELEASE)
        assert (free.held_at, free.status, free.queued_at) == (None, job.status, job.queued_at)
        assert advance(free, RELEASE, at(LATER)) == Repeated(free)

    def test_the_front_is_the_newest_s(self, job: Job) -> None:
        moved = live(live(job, FRONT), FRONT, now=LATER)
        assert (moved.front_at, moved.status) == (LATER, job.status)

    def test_another_priority(self, job: Job) -> None:
        low = PrioritizeJob(job_id=JOB, priority=Priority.LOW)
        changed = live(job, low)
        assert changed.terms == replace(job.terms, priority=Priority.LOW)
        assert advance(changed, low, at()) == Repeated(changed)
        # It is still the submission that it was.
        assert changed.request == job.request

    def test_a_cancel_forgets_that_it_was_held_or_moved(self, job: Job) -> None:
        ended = live(job, HOLD, FRONT, CancelJob(job_id=JOB))
        again = live(ended, RetryJob(job_id=JOB))
        assert (again.held_at, again.front_at, again.status) == (None, None, Status.PENDING)


def test_a_start_uses_the_place_at_the_front_up() -> None:
    job = live(jobs.pending(), FRONT, Dispatched(JOB), CancelJob(job_id=JOB), RetryJob(job_id=JOB))
    assert job.front_at is None


@pytest.mark.parametrize("job", ENDED, ids=lambda job: job.status)
def test_what_a_client_deletes_may_be_made_anew_and_what_expires_may_not(job: Job) -> None:
    deleted, expired = (advance(job, stimulus, at(LATER)) for stimulus in (DELETE, EXPIRED))
    assert isinstance(deleted, Removed)
    assert isinstance(expired, Removed)
    assert (deleted.request, expired.request) == ("", job.request)
    assert deleted.words == expired.words


@pytest.mark.parametrize("track_shared", [True, False])
@pytest.mark.parametrize("result_shared", [True, False])
def test_a_removal_takes_only_files_that_nobody_else_has(
    *, track_shared: bool, result_shared: bool
) -> None:
    outcome = advance(
        jobs.completed(),
        DELETE,
        at(LATER, track_shared=track_shared, result_shared=result_shared),
    )
    assert isinstance(outcome, Removed)
    assert outcome.words == (
        RemoveWork(
            job_id=JOB,
            attempt=1,
            before=NOW,  # it ended then: who has touched its files since keeps them
            track=None if track_shared else "t1",
            result=None if result_shared else jobs.result().id,
        ),
    )


def test_a_removal_covers_every_attempt_there_was() -> None:
    outcome = advance(replace(jobs.cancelled(), attempt_floor=5), DELETE, at())
    assert isinstance(outcome, Removed)
    (word,) = outcome.words
    assert isinstance(word, RemoveWork)
    assert word.attempt == 5


def test_a_job_that_never_had_files_names_none() -> None:
    outcome = advance(live(jobs.pending(), CancelJob(job_id=JOB)), DELETE, at())
    assert isinstance(outcome, Removed)
    assert outcome.words == (RemoveWork(job_id=JOB, attempt=1, before=NOW),)
