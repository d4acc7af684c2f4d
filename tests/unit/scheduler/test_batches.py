"""Batches in the scheduler: their jobs are made, called off and retried, wherever that is cut."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.actor import RETENTION_SECONDS
from services.scheduler.batch import STRIDE, BatchDue, BatchExpired, ErrandTurn
from services.scheduler.deciding import LeaseLostError
from services.scheduler.decision import Dispatched
from services.scheduler.dispatcher import QueueLimits
from services.scheduler.retention import BATCH_SECONDS
from shared.contracts.batch import BatchStatus, batch_snapshot, entry_id
from shared.contracts.commands import (
    AcceptedBatch,
    CancelBatch,
    CancelJob,
    DeleteJob,
    Refused,
    Reply,
    RetryBatch,
)
from shared.contracts.job import Status
from shared.contracts.work import ExpandWork, Stage, StopOrder
from shared.errors import Code
from tests.support import batches, jobs
from tests.support.batches import BATCH, CANCEL, RETRY, submit_batch, submit_playlist
from tests.support.jobs import LATER

if TYPE_CHECKING:
    from shared.contracts.batch import Batch
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

TURN = ErrandTurn(BATCH)


def batch_in(realm: Realm) -> Batch:
    batch = realm.store.batch(BATCH)
    assert batch is not None
    return batch


def statuses(realm: Realm) -> dict[int, Status]:
    """Of the batch's jobs that there are, by number."""
    return {int(job.id.rpartition("-")[2]): job.status for job in realm.store.jobs()}


async def run_errands(realm: Realm) -> None:
    """Until nothing is left to be done to any batch."""
    while TURN in (decisions := realm.scheduler.decisions()):
        assert decisions.count(TURN) == 1
        await realm.scheduler.receive(TURN)


async def test_a_batch_is_stored_answered_and_then_its_jobs_are_made(realm: Realm) -> None:
    (reply,) = await realm.scheduler.receive(submit_batch(STRIDE + 2, reply_to="a"))
    accepted = AcceptedBatch(batch=batch_snapshot(batch_in(realm)))
    assert reply == Reply(to="a", answer=accepted)
    assert statuses(realm) == {}
    await realm.scheduler.receive(TURN)
    assert len(statuses(realm)) == STRIDE
    await run_errands(realm)
    assert set(statuses(realm)) == set(range(STRIDE + 2))
    assert set(statuses(realm).values()) == {Status.PENDING}
    assert (batch_in(realm).submitted, batch_in(realm).errand) == (STRIDE + 2, None)
    (again,) = await realm.scheduler.receive(submit_batch(STRIDE + 2, reply_to="b"))
    assert isinstance(again, Reply)
    assert isinstance(again.answer, AcceptedBatch)
    assert again.answer.repeated


async def test_a_job_of_a_batch_is_what_the_batch_asked_for(realm: Realm) -> None:
    await realm.scheduler.receive(submit_batch(1))
    await run_errands(realm)
    job = realm.stored(entry_id(BATCH, 0))
    batch = batch_in(realm)
    assert (job.batch, job.source, job.options, job.terms) == (
        BATCH,
        batch.entries[0].source,
        batch.options,
        batch.terms,
    )


async def test_a_playlist_is_read_by_a_downloader_and_its_songs_become_jobs(realm: Realm) -> None:
    (word,) = await realm.scheduler.receive(submit_playlist())
    assert isinstance(word, ExpandWork)
    assert list(await realm.scheduler.receive(submit_playlist())) == [word]
    assert list(await realm.scheduler.receive(batches.expanded(2))) == []
    await run_errands(realm)
    assert statuses(realm) == {0: Status.PENDING, 1: Status.PENDING}


async def test_a_playlist_that_could_not_be_read_is_read_again_in_time(realm: Realm) -> None:
    await realm.scheduler.receive(submit_playlist())
    await realm.scheduler.receive(batches.unreadable())
    assert (realm.scheduler.decisions(), realm.scheduler.next_due()) == ([], 1.0)
    realm.forward(1.0)
    assert realm.scheduler.decisions() == [BatchDue(BATCH)]
    (word,) = await realm.scheduler.receive(BatchDue(BATCH))
    assert isinstance(word, ExpandWork)
    assert word.attempt == 2


async def test_a_cancel_ends_what_has_not_ended_and_a_retry_takes_all_up_again(
    realm: Realm,
) -> None:
    await realm.scheduler.receive(submit_batch(3))
    await run_errands(realm)
    first = entry_id(BATCH, 0)
    await realm.scheduler.receive(Dispatched(first))
    await realm.scheduler.receive(
        jobs.failed(Stage.DOWNLOAD, "source", job_id=first, problem=jobs.TERMINAL)
    )
    await realm.scheduler.receive(CANCEL)
    await run_errands(realm)
    assert statuses(realm) == {0: Status.FAILED, 1: Status.CANCELLED, 2: Status.CANCELLED}
    await realm.scheduler.receive(RETRY)
    await run_errands(realm)
    assert set(statuses(realm).values()) == {Status.PENDING}


async def test_a_cancelled_job_s_words_are_said(realm: Realm) -> None:
    await realm.scheduler.receive(submit_batch(1))
    await run_errands(realm)
    await realm.scheduler.receive(Dispatched(entry_id(BATCH, 0)))
    await realm.scheduler.receive(CANCEL)
    words = await realm.scheduler.receive(TURN)
    assert StopOrder(job_id=entry_id(BATCH, 0)) in words


async def test_a_job_that_was_removed_meanwhile_is_left_alone(realm: Realm) -> None:
    await realm.scheduler.receive(submit_batch(2))
    await run_errands(realm)
    first = entry_id(BATCH, 0)
    for command in (CancelJob(job_id=first), DeleteJob(job_id=first), CANCEL, RETRY):
        await realm.scheduler.receive(command)
        await run_errands(realm)
    assert statuses(realm) == {1: Status.PENDING}


@pytest.mark.parametrize("kept", range(2 * STRIDE + 6))
async def test_an_errand_that_is_cut_off_anywhere_goes_on_where_it_was(
    new_realm: NewRealm, kept: int
) -> None:
    """The process dies after so many writes; another one takes over."""
    first = new_realm()
    writes = 0

    def die() -> None:
        nonlocal writes
        if writes == kept:
            raise InterruptedError
        writes += 1

    first.store.before_write = die
    with suppress(InterruptedError):
        await first.scheduler.receive(submit_batch(2 * STRIDE + 3))
        await run_errands(first)
    first.store.before_write = lambda: None
    second = new_realm(store=first.store)
    await second.scheduler.take_over()
    await second.scheduler.receive(submit_batch(2 * STRIDE + 3))
    await run_errands(second)
    assert len(statuses(second)) == 2 * STRIDE + 3
    assert batch_in(second).errand is None


async def test_how_far_an_errand_is_counts_only_once_its_words_were_said(
    new_realm: NewRealm,
) -> None:
    """The host says a turn's words after it: what is cut off in between is done again."""
    first = new_realm()
    await first.scheduler.receive(submit_batch(2))
    await run_errands(first)
    await first.scheduler.receive(Dispatched(entry_id(BATCH, 0)))
    await first.scheduler.receive(CANCEL)
    lost = await first.scheduler.receive(TURN)
    second = new_realm(store=first.store)
    await second.scheduler.take_over()
    assert TURN in second.scheduler.decisions()
    assert list(await second.scheduler.receive(TURN)) == list(lost)


async def test_taking_over_says_again_what_batches_had_to_say(new_realm: NewRealm) -> None:
    realm = new_realm(batches.expanding())
    (word,) = await realm.scheduler.take_over()
    assert isinstance(word, ExpandWork)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (CancelBatch(job_id=BATCH, reply_to="a"), Code.BATCH_NOT_FOUND),
        (RetryBatch(job_id=BATCH, reply_to="a"), Code.BATCH_NOT_FOUND),
        (submit_batch(0, reply_to="a"), Code.BATCH_EMPTY),
    ],
)
async def test_a_refusal_is_answered(realm: Realm, command: CancelBatch, code: Code) -> None:
    (reply,) = await realm.scheduler.receive(command)
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, Refused)
    assert code == reply.answer.problem.code


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (QueueLimits(max_waiting=4), Code.QUEUE_FULL),
        (QueueLimits(max_waiting_per_owner=4), Code.QUEUE_OWNER_FULL),
    ],
)
async def test_a_batch_takes_as_many_places_as_it_has_songs(
    new_realm: NewRealm, limits: QueueLimits, code: Code
) -> None:
    realm = new_realm(queue=limits)
    await realm.scheduler.receive(jobs.submit())
    for count, refused in ((4, True), (3, False)):
        command = submit_batch(count, reply_to="a", answer_by=LATER)
        (reply,) = await realm.scheduler.receive(command)
        assert isinstance(reply, Reply)
        assert isinstance(reply.answer, Refused) is refused
        if isinstance(reply.answer, Refused):
            assert code == reply.answer.problem.code


async def test_a_playlist_that_is_being_read_takes_one_place(new_realm: NewRealm) -> None:
    realm = new_realm(queue=QueueLimits(max_waiting=2))
    await realm.scheduler.receive(submit_playlist())
    for job_id, refused in (("j1", False), ("j2", True)):
        command = replace(jobs.submit(job_id, reply_to="a"), answer_by=LATER)
        (reply,) = await realm.scheduler.receive(command)
        assert isinstance(reply, Reply)
        assert isinstance(reply.answer, Refused) is refused
    await realm.scheduler.receive(batches.expanded(3))
    assert (len(batch_in(realm).entries), len(batch_in(realm).skipped)) == (1, 2)


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("dies", [True, False])
async def test_a_cancel_in_the_midst_of_submitting_ends_what_was_made_and_a_retry_makes_all(
    new_realm: NewRealm, turns: int, *, dies: bool
) -> None:
    realm = new_realm()
    await realm.scheduler.receive(submit_batch(2 * STRIDE + 5))
    for _ in range(turns):
        await realm.scheduler.receive(TURN)
    if dies:
        realm = new_realm(store=realm.store)
        await realm.scheduler.take_over()
    await realm.scheduler.receive(CANCEL)
    await run_errands(realm)
    assert statuses(realm) == dict.fromkeys(range(turns * STRIDE), Status.CANCELLED)
    await realm.scheduler.receive(RETRY)
    await run_errands(realm)
    assert statuses(realm) == dict.fromkeys(range(2 * STRIDE + 5), Status.PENDING)


async def test_an_errand_that_another_owner_has_changed_is_not_gone_on_with(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(batches.submitting())
    await realm.scheduler.take_over()
    realm.store.put(batches.live(batches.submitting(), CANCEL))
    await run_errands(realm)
    assert (batch_in(realm).status, statuses(realm)) == (BatchStatus.CANCELLED, {})


async def test_a_fact_is_not_dropped_for_what_a_batch_is_no_more(new_realm: NewRealm) -> None:
    realm = new_realm(batches.expanding())
    await realm.scheduler.take_over()
    realm.store.put(batches.live(batches.expanding(), CANCEL, RETRY))
    await realm.scheduler.receive(batches.expanded(attempt=2))
    assert len(batch_in(realm).entries) == 3


async def test_conflicts_without_end_mean_that_there_is_another_owner(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(batches.submitting())

    def somebody_else_always_writes() -> None:
        realm.store.put(batches.submitting())

    realm.store.before_write = somebody_else_always_writes
    with pytest.raises(LeaseLostError):
        await realm.scheduler.receive(CANCEL)


async def test_a_batch_is_forgotten_when_nothing_is_left_of_it(realm: Realm) -> None:
    await realm.scheduler.receive(submit_batch(1))
    await run_errands(realm)
    job_id = entry_id(BATCH, 0)
    realm.forward(BATCH_SECONDS + 1)
    assert BatchExpired(BATCH) not in realm.scheduler.decisions()
    await realm.scheduler.receive(CancelJob(job_id=job_id))
    realm.forward(RETENTION_SECONDS)
    assert BatchExpired(BATCH) not in realm.scheduler.decisions()
    await realm.scheduler.receive(DeleteJob(job_id=job_id))
    realm.forward(RETENTION_SECONDS)
    assert realm.scheduler.decisions() == [BatchExpired(BATCH)]
    await realm.scheduler.receive(BatchExpired(BATCH))
    assert realm.store.batch(BATCH) is None
