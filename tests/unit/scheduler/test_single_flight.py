"""Equal jobs at the same time share one run, and each ends for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.scheduler.decision import Answered, Dispatched, Granted, LeaderEnded
from services.scheduler.dispatcher import QueueLimits
from shared.contracts.commands import (
    CancelJob,
    DeleteJob,
    HoldJob,
    ReleaseJob,
    RetryJob,
)
from shared.contracts.job import Legacy, Status
from shared.contracts.work import (
    RemoveWork,
    SeparateWork,
    Stage,
    StopOrder,
    SweepWork,
)
from tests.support import jobs
from tests.support.twins import (
    SLOTS,
    at_work,
    finish,
    led,
    obey,
    statuses,
    twin,
)

if TYPE_CHECKING:
    from tests.unit.scheduler.conftest import NewRealm


async def test_equal_jobs_share_one_run_and_end_together(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    for job_id in "abc":
        await realm.scheduler.receive(twin(job_id))
    await realm.scheduler.receive(HoldJob(job_id="c"))
    assert {Dispatched("a"), Dispatched("b")} <= set(await obey(realm))
    pending = Status.PENDING
    assert statuses(realm) == {
        "leader": (Status.PROCESSING, None),
        "a": (pending, "leader"),
        "b": (pending, "leader"),
        "c": (pending, None),
    }
    # They have no place in the queue, and take none of anybody's.
    assert realm.scheduler.decisions() == []
    assert (realm.scheduler.queue().order, realm.scheduler.queue().waiting) == ((), 0)
    await realm.scheduler.receive(twin("d"))
    await finish(realm, realm.stored("leader").outbox)
    assert realm.stored("leader").status is Status.COMPLETED
    # One that had not had its turn yet needs none.
    assert set(await obey(realm)) == {LeaderEnded("a"), LeaderEnded("b"), Answered("d")}
    assert {one: realm.stored(one).status for one in "abcd"} == {
        **dict.fromkeys("abd", Status.COMPLETED),
        "c": pending,
    }
    assert len({realm.stored(one).result for one in ("leader", *"abd")}) == 1
    await realm.scheduler.receive(ReleaseJob(job_id="c"))
    await obey(realm)
    assert realm.stored("c").status is Status.COMPLETED


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_cancelled_twin_does_not_cancel_the_other(new_realm: NewRealm, how: str) -> None:
    realm = new_realm(slots=SLOTS)
    await led(realm, "a", "b")
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    words = await realm.scheduler.receive(
        CancelJob(job_id="leader")
        if how == "cancelled"
        else jobs.failed(Stage.SEPARATE, "1", job_id="leader", problem=jobs.TERMINAL)
    )
    assert list(words) == [StopOrder(job_id="leader")]  # and no sweep
    assert realm.stored("leader").legacy == Legacy(heir="a", run="leader")
    await obey(realm)
    assert statuses(realm)["b"] == (Status.PENDING, "a")
    # The heir is started, and what is finished is not computed again.
    assert await obey(realm) == [Dispatched("a")]
    assert await obey(realm) == [Granted("a")]
    orders = [word for word in realm.stored("a").outbox if isinstance(word, SeparateWork)]
    assert [(one.chunk, one.run) for one in orders] == [(1, "leader"), (2, "leader")]
    await finish(realm, orders)
    done = realm.stored("a")
    assert done.status is Status.COMPLETED
    (sweep,) = done.outbox
    assert isinstance(sweep, SweepWork)
    assert (sweep.run, sweep.attempt >= 2) == ("leader", True)
    await obey(realm)
    assert realm.stored("b").status is Status.COMPLETED


async def test_a_run_is_passed_on_until_somebody_ends_it(new_realm: NewRealm) -> None:
    """The heir is called off before its turn, with others that follow it."""
    realm = new_realm(slots=SLOTS, queue=QueueLimits(max_processing=1))
    await led(realm, "a", "b")
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    await obey(realm)
    assert statuses(realm)["b"] == (Status.PENDING, "a")
    words = await realm.scheduler.receive(CancelJob(job_id="a"))
    assert list(words) == [StopOrder(job_id="a")]
    await obey(realm)
    await obey(realm)
    heir = realm.stored("b")
    assert (heir.status, heir.run, heir.chunks_done) == (Status.PROCESSING, "leader", 1)
    words = await realm.scheduler.receive(CancelJob(job_id="b"))
    assert [(type(word), getattr(word, "run", "")) for word in words] == [
        (StopOrder, ""),
        (SweepWork, "leader"),
    ]


async def test_a_follower_that_ends_harms_nobody(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await led(realm, "a", "b")
    assert list(await realm.scheduler.receive(CancelJob(job_id="a"))) == []
    await realm.scheduler.receive(DeleteJob(job_id="a"))
    await realm.scheduler.receive(HoldJob(job_id="b"))
    words = await realm.scheduler.receive(CancelJob(job_id="leader"))
    # Whoever is held goes on with nothing: the run ends as any other.
    assert [type(word) for word in words] == [StopOrder, SweepWork]
    await obey(realm)
    assert statuses(realm)["b"] == (Status.PENDING, None)


async def test_a_leader_that_is_retried_follows_its_heir(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await led(realm, "a")
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    await obey(realm)
    await obey(realm)
    assert realm.stored("a").status is Status.PROCESSING
    await realm.scheduler.receive(RetryJob(job_id="leader"))
    await realm.scheduler.receive(Dispatched("leader"))
    assert statuses(realm)["leader"] == (Status.PENDING, "a")
    await obey(realm)
    await finish(realm, realm.stored("a").outbox)
    await obey(realm)
    assert realm.stored("leader").status is Status.COMPLETED


async def test_a_leader_that_is_deleted_before_its_heir_comes_leaves_nothing_behind(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(slots=SLOTS)
    await led(realm, "a")
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    (word,) = await realm.scheduler.receive(DeleteJob(job_id="leader"))
    assert isinstance(word, RemoveWork)
    assert word.run == "leader"
    await obey(realm)
    assert statuses(realm)["a"] == (Status.PENDING, None)


async def test_the_next_owner_repairs_what_the_last_one_left_undone(new_realm: NewRealm) -> None:
    """It dies between the end of a leader and what follows from it for others."""
    dying = new_realm(slots=SLOTS)
    await led(dying, "a", "b")
    await dying.scheduler.receive(twin("c"))
    await finish(dying, dying.stored("leader").outbox)
    realm = new_realm(store=dying.store, slots=SLOTS)
    await realm.scheduler.take_over()
    assert set(await obey(realm)) == {LeaderEnded("a"), LeaderEnded("b")}
    assert await obey(realm) == [Answered("c")]
    assert {job.status for job in realm.store.jobs()} == {Status.COMPLETED}


async def test_nobody_is_started_while_a_run_is_being_taken_over(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS, queue=QueueLimits(max_processing=1))
    await led(realm, "a")
    await realm.scheduler.receive(jobs.submit("stranger"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    assert realm.scheduler.decisions() == [LeaderEnded("a")]
    await obey(realm)
    assert realm.scheduler.decisions() == [Dispatched("a")]
