"""The unfinished jobs, by what has to be asked of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.decision import TimeLimits
from services.scheduler.ledger import _TIDY, AGAIN, Ledger
from services.scheduler.wishes import source_key, wish_of
from shared.contracts.commands import CancelJob, HoldJob, ReleaseJob, RetryJob
from shared.contracts.job import Job
from shared.contracts.request import Terms
from shared.contracts.work import Stage
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, live

HOLD, RELEASE = HoldJob(job_id=JOB), ReleaseJob(job_id=JOB)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(TimeLimits())


def owned(job: Job, job_id: str, owner: str) -> Job:
    return replace(job, id=job_id, terms=replace(job.terms, owner=owner))


def sets(ledger: Ledger) -> tuple[set[str], set[str], set[str], set[str]]:
    """Of which sets a job is: waiting, resuming, processing, tallies."""
    return set(ledger.waiting), set(ledger.resuming), set(ledger.processing), set(ledger.tallies)


@pytest.mark.parametrize(
    ("job", "waiting", "resuming", "processing", "queued"),
    [
        (jobs.scheduled(), False, False, False, 1),
        (jobs.pending(), True, False, False, 1),
        (live(jobs.pending(), HOLD), False, False, False, 1),
        (replace(jobs.pending(), follows="j2"), False, False, False, 1),
        (replace(jobs.retried(), follows="j2"), False, False, False, 1),
        (live(jobs.pending(), HOLD, RELEASE), True, False, False, 1),
        (jobs.downloading(), False, False, True, 0),
        (jobs.separating(), False, False, True, 0),
        (jobs.retried(), True, True, False, 1),
        (jobs.completed(), False, False, False, 0),
        (jobs.broken(), False, False, False, 0),
        (jobs.cancelled(), False, False, False, 0),
    ],
)
def test_a_job_is_where_it_is_looked_for(
    ledger: Ledger,
    job: Job,
    *,
    waiting: bool,
    resuming: bool,
    processing: bool,
    queued: int,
) -> None:
    # Whatever it was before leaves nothing behind.
    for before in (jobs.pending(), jobs.retried(), jobs.separating(), jobs.scheduled()):
        ledger.put(before, 1)
        ledger.put(job, 2)
        one = {JOB}
        expected = tuple(
            one if there else set() for there in (waiting, resuming, processing, processing)
        )
        assert expected == sets(ledger)
        assert (queued, queued) == (ledger.queued, ledger.queued_of(""))
        assert (len(ledger), (2, job)) == (1, ledger.get(JOB)) or job.status.terminal
        ledger.drop(JOB)
        assert (sets(ledger), len(ledger), ledger.queued) == ((set(), set(), set(), set()), 0, 0)


@pytest.mark.parametrize(
    ("leader", "forsaken"),
    [
        (None, True),
        (jobs.scheduled(), True),
        (jobs.pending(), False),
        (live(jobs.pending(), HOLD), True),
        (replace(jobs.pending(), follows="j3"), True),
        (jobs.separating(), False),
        (jobs.completed(), True),
        (jobs.broken(), True),
    ],
)
def test_who_follows_one_that_is_not_at_work_is_forsaken(
    ledger: Ledger, leader: Job | None, *, forsaken: bool
) -> None:
    for number in (3, 2):
        ledger.put(replace(jobs.pending(), id=f"f{number}", follows=JOB), number)
    if leader is not None:
        ledger.put(leader, 9)
    found = [one for one in ledger.forsaken() if one.startswith("f")]
    assert found == (["f2", "f3"] if forsaken else [])
    ledger.clear()
    assert ledger.forsaken() == []


def test_who_has_to_do_with_whom_is_known_as_long_as_it_is_so(ledger: Ledger) -> None:
    relations, job = ledger.relations, jobs.separating()
    wish, source = wish_of(job), source_key(job.source)
    ledger.put(jobs.pending(), 1)
    assert (set(relations.with_wish(wish)), set(relations.with_track(source))) == ({JOB}, set())
    ledger.put(job, 2)
    ledger.put(replace(jobs.pending(), id="f", follows=JOB), 3)
    assert (set(relations.with_wish(wish)), set(relations.with_track(source))) == (
        {JOB, "f"},
        {JOB},
    )
    assert (list(relations.leaders()), set(relations.followers(JOB))) == ([JOB], {"f"})
    ledger.put(replace(jobs.pending(), id="f"), 4)
    assert (list(relations.leaders()), set(relations.followers(JOB))) == ([], set())
    ledger.put(jobs.completed(), 5)
    ledger.drop("f")
    assert (set(relations.with_wish(wish)), set(relations.with_track(source))) == (set(), set())


def test_queued_jobs_are_counted_by_owner(ledger: Ledger) -> None:
    ledger.put(owned(jobs.pending(), "a0", "a"), 1)
    ledger.put(owned(jobs.scheduled(), "a1", "a"), 2)
    ledger.put(owned(live(jobs.pending(), HOLD), "b0", "b"), 3)
    ledger.put(owned(jobs.separating(), "c0", "c"), 4)
    assert (ledger.queued, [ledger.queued_of(owner) for owner in "abc"]) == (3, [2, 1, 0])
    assert ledger.owners() == {"a", "b", "c"}
    ledger.drop("a0")
    ledger.drop("b0")
    ledger.drop("never there")
    assert (ledger.queued, ledger.owners()) == (1, {"a", "c"})


def test_what_ends_is_let_go_of(ledger: Ledger) -> None:
    for job in (jobs.separating(), live(jobs.separating(), CancelJob(job_id=JOB))):
        ledger.put(job, 1)
    assert (len(ledger), ledger.get(JOB), list(ledger)) == (0, None, [])


@pytest.mark.parametrize(
    ("job", "seconds"),
    [
        (jobs.pending(), None),
        (jobs.scheduled(), 3600.0),
        (replace(jobs.pending(), terms=Terms(deadline=NOW + timedelta(seconds=7))), 7.0),
        (replace(jobs.scheduled(), terms=Terms(deadline=NOW + timedelta(seconds=7))), 7.0),
        (jobs.downloading(), 7200.0),
        (jobs.separating(), 48 * 3600.0),
        (jobs.finalizing(), 7200.0),
        (live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0")), 1.0),
        # What is not processing waits for nothing of its units, and its time does not run.
        (live(jobs.separating(), CancelJob(job_id=JOB), RetryJob(job_id=JOB)), None),
    ],
)
def test_the_first_of_a_job_s_times_is_when_it_is_due(
    ledger: Ledger, job: Job, seconds: float | None
) -> None:
    ledger.put(job, 1)
    if seconds is None:
        assert (ledger.next_time(), ledger.due(NOW + timedelta(days=99))) == (None, [])
        return
    time = NOW + timedelta(seconds=seconds)
    assert time == ledger.next_time()
    assert ledger.due(time - timedelta(microseconds=1)) == []
    assert ledger.due(time) == [JOB]


def test_what_is_due_is_told_again_only_after_a_while(ledger: Ledger) -> None:
    ledger.put(jobs.scheduled(), 1)
    assert ledger.due(LATER) == [JOB]
    assert ledger.due(LATER) == []
    assert ledger.next_time() == LATER + AGAIN
    assert ledger.due(LATER + AGAIN) == [JOB]


def test_the_time_of_an_older_record_is_none(ledger: Ledger) -> None:
    ledger.put(jobs.scheduled(), 1)
    ledger.put(jobs.pending(), 2)
    assert (ledger.next_time(), ledger.due(LATER)) == (None, [])
    ledger.put(jobs.scheduled(), 3)
    ledger.drop(JOB)
    assert (ledger.next_time(), ledger.due(LATER)) == (None, [])


def test_several_are_due_in_the_order_of_their_times(ledger: Ledger) -> None:
    for number in (3, 1, 2):
        at = NOW + timedelta(minutes=number)
        ledger.put(replace(jobs.scheduled(), id=f"j{number}", run_at=at), number)
    assert ledger.due(NOW + timedelta(minutes=2)) == ["j1", "j2"]
    assert NOW + timedelta(minutes=2) + AGAIN == ledger.next_time()


def test_timers_of_older_records_do_not_pile_up(ledger: Ledger) -> None:
    for revision in range(5 * _TIDY):
        ledger.put(jobs.scheduled(), revision)
    assert len(ledger._timers) <= _TIDY + 3
    assert ledger.due(LATER) == [JOB]


def test_everything_can_be_forgotten(ledger: Ledger) -> None:
    for number, make in enumerate(jobs.OF_STATUS.values()):
        ledger.put(replace(make(), id=f"j{number}"), number)
    ledger.clear()
    assert (sets(ledger), len(ledger), ledger.queued) == ((set(), set(), set(), set()), 0, 0)
    assert (ledger.owners(), ledger.next_time()) == (set(), None)
