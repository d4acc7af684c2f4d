"""The scheduler as its host sees it: a message in, state stored, words out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.deciding import LeaseLostError
from services.scheduler.decision import Dispatched, Due
from shared.contracts.commands import (
    Accepted,
    CancelJob,
    Refused,
    Reply,
    RetryJob,
)
from shared.contracts.job import Job, Status
from shared.contracts.snapshot import snapshot
from shared.contracts.work import DownloadWork, Stage, StopOrder, SweepWork
from shared.errors import Code
from tests.support import jobs
from tests.support.jobs import JOB, LATER, live
from tests.support.realm import Realm

if TYPE_CHECKING:
    from tests.unit.scheduler.conftest import NewRealm


async def test_state_is_stored_before_words_are_returned(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    words = await realm.scheduler.receive(Dispatched(JOB))
    assert [DownloadWork] == [type(word) for word in words]
    assert (Status.PROCESSING, tuple(words)) == (realm.stored().status, realm.stored().outbox)


async def test_a_command_is_answered_with_the_job_as_it_is_stored(realm: Realm) -> None:
    (reply,) = await realm.scheduler.receive(jobs.submit(reply_to="inbox.1"))
    assert Reply(to="inbox.1", answer=Accepted(job=snapshot(realm.stored()))) == reply


async def test_a_command_that_nobody_waits_for_is_not_answered(realm: Realm) -> None:
    assert list(await realm.scheduler.receive(jobs.submit())) == []


async def test_the_same_command_again_is_answered_as_one_that_came_before(realm: Realm) -> None:
    answers = [await realm.scheduler.receive(jobs.submit(reply_to="a")) for _ in range(2)]
    accepted = Accepted(job=snapshot(realm.stored()))
    assert answers == [
        [Reply(to="a", answer=accepted)],
        [Reply(to="a", answer=replace(accepted, repeated=True))],
    ]


@pytest.mark.parametrize(
    ("existing", "command", "code"),
    [
        ((), CancelJob(job_id=JOB, reply_to="a"), Code.JOB_NOT_FOUND),
        ((), RetryJob(job_id=JOB, reply_to="a"), Code.JOB_NOT_FOUND),
        ((jobs.completed(),), CancelJob(job_id=JOB, reply_to="a"), Code.JOB_WRONG_STATE),
        ((jobs.pending(),), RetryJob(job_id=JOB, reply_to="a"), Code.JOB_WRONG_STATE),
    ],
)
async def test_a_refusal_is_answered_and_nothing_is_written(
    new_realm: NewRealm,
    existing: tuple[Job, ...],
    command: CancelJob | RetryJob,
    code: Code,
) -> None:
    realm = new_realm(*existing)
    (reply,) = await realm.scheduler.receive(command)
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, Refused)
    assert code == reply.answer.problem.code
    assert existing == tuple(filter(None, [realm.store.job(JOB)]))


async def test_what_is_stale_says_nothing(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.separating())
    for fact in (jobs.separated(0, 9), jobs.finalized(), jobs.downloaded()):
        words = await realm.scheduler.receive(fact)
        expected = list(jobs.separating().outbox) if fact == jobs.downloaded() else []
        assert expected == list(words)
    assert jobs.separating() == realm.stored()


async def test_a_fact_again_says_its_words_again(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.separating())
    first = await realm.scheduler.receive(jobs.separated(0))
    revision = (await realm.store.load(JOB) or (0, 0))[1]
    assert list(first) == list(await realm.scheduler.receive(jobs.separated(0)))
    assert revision == (await realm.store.load(JOB) or (0, 0))[1]


async def test_a_conflict_means_reading_again_and_deciding_again(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [live(realm.stored(), CancelJob(job_id=JOB))]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    assert list(await realm.scheduler.receive(Dispatched(JOB))) == []
    assert realm.stored().status == Status.CANCELLED
    assert realm.scheduler.decisions() == []


async def test_a_conflict_that_changes_nothing_of_the_matter_is_decided_the_same(
    realm: Realm,
) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [replace(realm.stored(), traceparent="other")]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    assert [DownloadWork] == [type(word) for word in await realm.scheduler.receive(Dispatched(JOB))]
    assert (realm.stored().traceparent, realm.stored().status) == ("other", Status.PROCESSING)


async def test_what_somebody_else_wrote_and_may_not_have_said_is_said(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [live(realm.stored(), Dispatched(JOB))]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    words = await realm.scheduler.receive(Dispatched(JOB))
    assert list(realm.stored().outbox) == list(words)
    assert (realm.stored().status, realm.scheduler.active) == (Status.PROCESSING, 1)


async def test_conflicts_without_end_mean_that_there_is_another_owner(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())

    def somebody_else_always_writes() -> None:
        realm.store.put(jobs.pending())

    realm.store.before_write = somebody_else_always_writes
    with pytest.raises(LeaseLostError):
        await realm.scheduler.receive(Dispatched(JOB))


async def test_nothing_is_decided_without_the_lease(realm: Realm) -> None:
    realm.may_act = False
    with pytest.raises(LeaseLostError):
        await realm.scheduler.receive(jobs.submit())
    assert realm.store.job(JOB) is None


async def test_taking_over_says_again_what_unfinished_jobs_had_to_say(new_realm: NewRealm) -> None:
    existing = {
        "j0": jobs.pending(),
        "j1": jobs.downloading(),
        "j2": jobs.separating(),
        "j3": jobs.cancelled(),
        "j4": jobs.completed(),
        "j5": jobs.finalizing(),
        "j6": jobs.scheduled(),
    }
    realm = new_realm(*(replace(job, id=job_id) for job_id, job in existing.items()))
    words = await realm.scheduler.take_over()
    assert [word for job in ("j1", "j2", "j5") for word in existing[job].outbox] == words
    assert realm.scheduler.active == 5
    assert realm.scheduler.stirred.is_set()


async def test_taking_over_again_forgets_what_was_held(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    realm.store.put(jobs.completed())
    assert await realm.scheduler.take_over() == []
    assert (realm.scheduler.active, realm.scheduler.job(JOB)) == (0, None)


async def test_a_job_that_has_ended_is_not_held(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.separating())
    await realm.scheduler.take_over()
    words = await realm.scheduler.receive(CancelJob(job_id=JOB, reply_to="a"))
    assert [Reply, StopOrder, SweepWork] == [type(word) for word in words]
    assert (realm.scheduler.active, realm.scheduler.job(JOB)) == (0, None)


async def test_a_retry_of_a_job_that_is_not_held_reads_it(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.broken())
    await realm.scheduler.take_over()
    await realm.scheduler.receive(RetryJob(job_id=JOB))
    assert (realm.stored().status, realm.scheduler.active) == (Status.PENDING, 1)


async def test_waiting_jobs_are_dispatched_as_the_fleet_allows(realm: Realm) -> None:
    for number in range(3):
        await realm.scheduler.receive(jobs.submit(f"j{number}"))
    assert [Dispatched("j0")] == realm.scheduler.decisions()
    await realm.scheduler.receive(Dispatched("j0"))
    assert realm.scheduler.decisions() == []
    await realm.scheduler.receive(jobs.downloaded(job_id="j0"))
    assert [Dispatched("j1")] == realm.scheduler.decisions()


async def test_a_job_whose_time_comes_is_due(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit("later", run_at=LATER))
    assert (realm.scheduler.decisions(), realm.scheduler.next_due()) == ([], 3600.0)
    realm.forward(3600.0)
    assert realm.scheduler.next_due() == 0.0
    assert [Due("later")] == realm.scheduler.decisions()
    await realm.scheduler.receive(Due("later"))
    assert [Dispatched("later")] == realm.scheduler.decisions()


async def test_nothing_is_due_where_nothing_waits_for_a_time(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    assert realm.scheduler.next_due() is None


async def test_a_failed_unit_waits_for_its_time(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.separating())
    await realm.scheduler.take_over()
    await realm.scheduler.receive(jobs.failed(Stage.SEPARATE, "0"))
    assert 0 < (realm.scheduler.next_due() or 0) <= 1
    assert realm.scheduler.decisions() == []


async def test_a_finalization_teaches_how_fast_it_is(new_realm: NewRealm) -> None:
    realm = new_realm(jobs.finalizing())
    await realm.scheduler.receive(jobs.finalized(elapsed=2.0))
    assert jobs.track().seconds / 2 == realm.fleet.finalization_speed
    await realm.scheduler.receive(jobs.finalized(elapsed=9.0))
    assert jobs.track().seconds / 2 == realm.fleet.finalization_speed


async def test_the_submission_s_trace_is_what_later_messages_belong_to(realm: Realm) -> None:
    await realm.scheduler.receive(replace(jobs.submit(), traceparent="00-1-2-01"))
    assert realm.scheduler.trace_of(JOB) == {"traceparent": "00-1-2-01"}
    assert realm.scheduler.trace_of("another") == {}


async def test_a_look_is_due_when_a_message_is_decided_and_not_while_it_is(realm: Realm) -> None:
    stirred = realm.scheduler.stirred
    stirred.clear()
    seen: list[bool] = []
    realm.store.before_write = lambda: seen.append(stirred.is_set())
    await realm.scheduler.receive(jobs.submit())
    assert (seen, stirred.is_set()) == ([False], True)
