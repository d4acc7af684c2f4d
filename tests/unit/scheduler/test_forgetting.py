"""What has ended is forgotten in time, or when it takes too much room; the oldest first."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.actor import RETENTION_SECONDS
from services.scheduler.batch import BatchExpired
from services.scheduler.decision import Dispatched, Expired
from services.scheduler.retention import STRIDE, RetentionLimits, expired
from services.scheduler.wishes import source_key, wish_of
from shared.contracts.commands import Accepted, CancelJob, DeleteJob, Refused, Reply, RetryJob
from shared.contracts.job import Job, Status
from shared.contracts.request import Source
from shared.contracts.work import DownloadWork, RemoveWork
from shared.errors import Code
from tests.support import batches, jobs
from tests.support.jobs import JOB, NOW

if TYPE_CHECKING:
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

DAY = 24 * 3600.0
#: Of the example's result, and of its track where it says so.
RESULT_BYTES = 123 + 456


def ended(
    name: str, minute: float = 0, *, track: str | None = "t1", result: str | None = "r1"
) -> Job:
    """A job that ended so many minutes after ``NOW``, its track of 1,000 bytes."""
    job = replace(jobs.completed(), id=name, finished_at=NOW + timedelta(minutes=minute))
    assert job.track is not None
    assert job.result is not None
    return replace(
        job,
        track=replace(job.track, id=track, stored_bytes=1000) if track else None,
        result=replace(job.result, id=result) if result else None,
    )


def kept(realm: Realm, *those: Job) -> Realm:
    for job in those:
        realm.archive.put(job)
    return realm


def test_files_that_several_have_are_counted_once(realm: Realm) -> None:
    kept(realm, ended("a"), ended("b"), ended("c", result="r2"), ended("d", track="t2"))
    assert realm.archive.stored_bytes == 2 * 1000 + 2 * RESULT_BYTES
    kept(realm, ended("a", track=None, result=None))
    realm.archive.drop("c")
    assert realm.archive.stored_bytes == 2 * 1000 + RESULT_BYTES
    realm.archive.clear()
    assert realm.archive.stored_bytes == 0


def test_what_goes_on_is_let_go_of(realm: Realm) -> None:
    kept(realm, jobs.broken(), jobs.retried())
    assert realm.archive.oldest(9) == []


@pytest.mark.parametrize(
    ("job", "shared"),
    [
        (ended("a"), (True, False)),
        (ended("b", result="r2"), (True, False)),
        (ended("new", result="r2"), (True, True)),
        (ended("new", track="t9", result="r9"), (False, False)),
        (ended("new", track=None, result=None), (False, False)),
    ],
)
def test_who_else_has_a_track_or_a_result_is_known(
    realm: Realm, job: Job, shared: tuple[bool, bool]
) -> None:
    kept(realm, ended("a"), ended("b", result="r2"))
    assert shared == realm.archive.shares(job)


def test_the_newest_that_can_be_taken_is_found_first(realm: Realm) -> None:
    archive, first = realm.archive, ended("a")
    wish, source = wish_of(first), source_key(first.source)
    failed = replace(ended("f", 9, result=None), status=Status.FAILED)
    trackless = replace(ended("n", 9, track=None, result=None), status=Status.CANCELLED)
    other = replace(ended("o", 9, result="r2"), source=Source(url="https://example.org/b.mp3"))
    kept(realm, ended("b", 1), first, ended("c", 2), failed, trackless, other)
    assert archive.made(wish, 2) == ["c", "b"]
    assert archive.made(wish_of(other), 9) == ["o"]
    assert archive.fetched(source, 9) == ["f", "c", "b", "a"]
    assert (archive.with_result("r1", 9), archive.with_result("r2", 9)) == (["c", "b", "a"], ["o"])
    archive.drop("c")
    kept(realm, replace(jobs.pending(), id="b"))
    assert (archive.made(wish, 9), archive.with_result("r1", 9)) == (["a"], ["a"])
    archive.clear()
    assert (archive.made(wish, 9), archive.fetched(source, 9)) == ([], [])


async def test_a_batch_that_has_changed_while_it_was_being_forgotten_stays(
    new_realm: NewRealm,
) -> None:
    """What is about to be removed is read first, and somebody else writes after that."""
    over = batches.submitted()
    realm = new_realm(over)
    await realm.scheduler.take_over()
    again = batches.live(over, batches.RETRY)

    def somebody_retries() -> None:
        realm.store.before_write = lambda: None
        realm.store.put(again)

    realm.store.before_write = somebody_retries
    await realm.scheduler.receive(BatchExpired(over.id))
    assert realm.store.batch(over.id) == again
    await realm.scheduler.receive(BatchExpired("gone"))  # nor does one that is gone hurt
    realm.store.put(over)
    await realm.scheduler.receive(BatchExpired(over.id))
    assert realm.store.batch(over.id) is None


def test_a_file_is_shared_until_the_last_but_one_is_gone(realm: Realm) -> None:
    kept(realm, ended("a"), ended("b"), ended("b"))
    assert realm.archive.shares(ended("a")) == (True, True)
    for _ in range(2):
        realm.archive.drop("b")
        assert realm.archive.shares(ended("a")) == (False, False)


@pytest.mark.parametrize(
    ("seconds", "names"), [(0.0, []), (1.0, ["a", "b", "c"]), (90.0, ["a", "b"]), (DAY, [])]
)
def test_what_is_older_than_allowed_goes_and_0_allows_everything(
    realm: Realm, seconds: float, names: list[str]
) -> None:
    kept(realm, ended("b", 1), ended("a", 0), ended("c", 2))
    now = NOW + timedelta(minutes=3)
    limits = RetentionLimits(seconds=seconds)
    assert names == expired(realm.archive, now, limits)


@pytest.mark.parametrize(
    ("allowed", "names"),
    [(0, []), (10_000, []), (4736, ["a"]), (2000, ["a", "b"]), (1, ["a", "b", "c"])],
)
def test_what_takes_too_much_room_goes_the_oldest_first(
    realm: Realm, allowed: int, names: list[str]
) -> None:
    kept(
        realm,
        *(ended(name, n, track=f"t{n}", result=f"r{n}") for n, name in enumerate("abc")),
    )
    assert realm.archive.stored_bytes == 3 * 1579
    limits = RetentionLimits(seconds=0, bytes=allowed)
    assert names == expired(realm.archive, NOW, limits)


def test_a_turn_takes_only_so_many(realm: Realm) -> None:
    kept(realm, *(ended(f"j{number:03}", number) for number in range(3 * STRIDE)))
    late = NOW + timedelta(days=99)
    assert expired(realm.archive, late, RetentionLimits()) == [f"j{n:03}" for n in range(STRIDE)]


async def test_everything_that_has_expired_goes_turn_by_turn(new_realm: NewRealm) -> None:
    those = [ended(f"j{number:03}", 0) for number in range(STRIDE + 3)]
    realm = new_realm(*those)
    await realm.scheduler.take_over()
    assert realm.scheduler.decisions() == []
    realm.forward(31 * DAY)
    for count in (STRIDE, 3, 0):
        decisions = realm.scheduler.decisions()
        assert [Expired] * count == [type(one) for one in decisions]
        for decision in decisions:
            await realm.scheduler.receive(decision)
    assert realm.store.jobs() == []
    realm.forward(RETENTION_SECONDS)
    assert realm.scheduler.decisions() == []


async def test_files_go_with_the_last_job_that_names_them(new_realm: NewRealm) -> None:
    realm = new_realm(ended("a"), ended("b"), ended("c", result="r2"), jobs.separating())
    await realm.scheduler.take_over()
    removed = []
    for job_id in ("a", "b", "c"):
        (word,) = await realm.scheduler.receive(DeleteJob(job_id=job_id))
        assert isinstance(word, RemoveWork)
        removed.append((word.track, word.result))
    # One that is being separated has the track, too, and may come to the same result.
    assert removed == [(None, None), (None, None), (None, None)]
    await realm.scheduler.receive(jobs.failed(jobs.stage_of("0"), "0", problem=jobs.TERMINAL))
    (word,) = await realm.scheduler.receive(DeleteJob(job_id=JOB))
    assert isinstance(word, RemoveWork)
    assert (word.track, word.result) == ("t1", None)


async def test_a_deleted_job_is_answered_as_it_was_and_then_is_not_there(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(jobs.completed())
    delete = DeleteJob(job_id=JOB, reply_to="a")
    reply, word = await realm.scheduler.receive(delete)
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, Accepted)
    assert isinstance(word, RemoveWork)
    for command in (delete, RetryJob(job_id=JOB, reply_to="a")):
        (reply,) = await realm.scheduler.receive(command)
        assert isinstance(reply, Reply)
        assert isinstance(reply.answer, Refused)
        assert reply.answer.problem.code == Code.JOB_NOT_FOUND


@pytest.mark.parametrize(
    ("how", "another", "code"),
    [
        (Expired(JOB), False, Code.JOB_REMOVED),
        (Expired(JOB), True, Code.JOB_EXISTS),
        (DeleteJob(job_id=JOB), False, None),
        (DeleteJob(job_id=JOB), True, None),
    ],
)
async def test_a_late_repetition_of_a_submission_does_not_make_what_has_expired_anew(
    new_realm: NewRealm, how: Expired | DeleteJob, *, another: bool, code: Code | None
) -> None:
    realm = new_realm(jobs.completed())
    await realm.scheduler.receive(how)
    command = jobs.submit(owner="another" if another else "", reply_to="a")
    (reply,) = await realm.scheduler.receive(command)
    assert isinstance(reply, Reply)
    found = reply.answer.problem.code if isinstance(reply.answer, Refused) else None
    assert code == found
    if code:
        realm.store.forget_marker(JOB)
        (reply,) = await realm.scheduler.receive(command)
        assert isinstance(reply, Reply)
        assert isinstance(reply.answer, Accepted)


async def test_a_job_made_anew_after_it_was_deleted_counts_its_attempts_on(
    new_realm: NewRealm,
) -> None:
    """The broker would drop the same order, and a worker may still have the old one."""
    realm = new_realm(jobs.separating())
    attempt = 1
    for _ in range(3):
        for command in (CancelJob(job_id=JOB), DeleteJob(job_id=JOB), jobs.submit()):
            await realm.scheduler.receive(command)
        (order,) = await realm.scheduler.receive(Dispatched(JOB))
        assert isinstance(order, DownloadWork)
        assert order.attempt > attempt
        attempt = order.attempt
