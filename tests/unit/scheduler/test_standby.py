"""A standby follows what the owner writes, so that taking over takes no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from services.scheduler.decision import Dispatched
from shared.contracts.commands import CancelJob, DeleteJob, RetryJob
from shared.contracts.job import Status
from shared.contracts.work import PrepareWork, Stage
from tests.support import batches, jobs
from tests.support.jobs import JOB

if TYPE_CHECKING:
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm


def known(realm: Realm) -> tuple[set[str], list[str], int]:
    """Unfinished jobs, finished ones, batches that are at something."""
    return (
        {job.id for job in realm.ledger},
        [job_id for job_id, _ in realm.archive.oldest(99)],
        len(list(realm.records.restless())),
    )


async def test_it_knows_what_the_owner_has_written(new_realm: NewRealm) -> None:
    owner = new_realm(replace(jobs.completed(), id="old"), batches.expanding())
    standby = new_realm(store=owner.store)
    await owner.scheduler.take_over()
    await standby.scheduler.catch_up()
    assert known(standby) == (set(), ["old"], 1)
    for message in (
        jobs.submit("a"),
        jobs.submit("b"),
        CancelJob(job_id="b"),
        DeleteJob(job_id="old"),
        batches.CANCEL,
    ):
        await owner.scheduler.receive(message)
        await standby.scheduler.catch_up()
        assert known(owner) == known(standby)
    assert known(standby) == ({"a"}, ["b"], 0)


async def test_it_reads_only_what_is_new(new_realm: NewRealm) -> None:
    owner = new_realm()
    standby = new_realm(store=owner.store)
    await owner.scheduler.receive(jobs.submit("a"))
    await standby.scheduler.catch_up()
    standby.ledger.drop("a")
    await owner.scheduler.receive(jobs.submit("b"))
    await standby.scheduler.catch_up()
    assert {job.id for job in standby.ledger} == {"b"}


async def test_it_takes_over_what_was_written_since_it_last_looked(new_realm: NewRealm) -> None:
    owner = new_realm()
    standby = new_realm(store=owner.store)
    await owner.scheduler.receive(jobs.submit())
    await standby.scheduler.catch_up()
    words = await owner.scheduler.receive(Dispatched(JOB))
    assert list(words) == await standby.scheduler.take_over()
    assert (standby.scheduler.job(JOB) or jobs.pending()).status is Status.PROCESSING


async def test_who_lost_the_lease_reads_everything_anew(new_realm: NewRealm) -> None:
    first = new_realm()
    second = new_realm(store=first.store)
    await first.scheduler.receive(jobs.submit())
    await first.scheduler.receive(jobs.submit("j2"))
    first.scheduler.step_down()
    assert known(first) == (set(), [], 0)
    await second.scheduler.take_over()
    await second.scheduler.receive(CancelJob(job_id=JOB))
    await first.scheduler.take_over()
    assert known(first) == ({"j2"}, [JOB], 0)


async def test_an_owner_with_a_stale_cache_harms_nothing(new_realm: NewRealm) -> None:
    stale = new_realm()
    await stale.scheduler.receive(jobs.submit())
    owner = new_realm(store=stale.store)
    await owner.scheduler.take_over()
    await owner.scheduler.receive(CancelJob(job_id=JOB))
    assert list(await stale.scheduler.receive(Dispatched(JOB))) == []
    assert stale.stored().status is Status.CANCELLED
    assert known(stale)[0] == set()


async def test_an_owner_with_a_stale_cache_drops_no_fact_that_is_awaited(
    new_realm: NewRealm,
) -> None:
    stale = new_realm()
    await stale.scheduler.receive(jobs.submit())
    owner = new_realm(store=stale.store)
    await owner.scheduler.take_over()
    await owner.scheduler.receive(Dispatched(JOB))
    words = await stale.scheduler.receive(jobs.downloaded())
    assert [type(word) for word in words] == [PrepareWork]
    assert stale.stored().track is not None


async def test_an_owner_with_a_stale_cache_refuses_nothing_that_can_be(
    new_realm: NewRealm,
) -> None:
    stale = new_realm()
    await stale.scheduler.receive(jobs.submit())
    owner = new_realm(store=stale.store)
    await owner.scheduler.take_over()
    await owner.scheduler.receive(CancelJob(job_id=JOB))
    await stale.scheduler.receive(RetryJob(job_id=JOB))
    assert stale.stored().status is Status.PENDING


async def test_orders_that_somebody_else_wrote_and_may_not_have_said_are_said(
    new_realm: NewRealm,
) -> None:
    slots = dict.fromkeys(Stage, 2)
    dying = new_realm(jobs.separating(), slots=slots)
    owner = new_realm(store=dying.store, slots=slots)
    await dying.scheduler.take_over()
    await owner.scheduler.take_over()
    (never_said,) = await dying.scheduler.receive(jobs.separated(0))
    words = await owner.scheduler.receive(jobs.separated(1))
    assert list(words) == [never_said]
    assert owner.stored().outbox == (never_said,)
