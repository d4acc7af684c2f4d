"""Never twice, on a real bucket: what the next owner reads there is all that it needs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from services.scheduler.kv import PatientStore
from shared.contracts.commands import CancelJob
from shared.contracts.job import Job, Status
from shared.contracts.work import SeparateWork
from shared.jetstream.store import JobStore, Stored
from tests.support import jobs
from tests.support.realm import Realm
from tests.support.twins import SLOTS, finish, led, obey, twin

if TYPE_CHECKING:
    from nats.aio.client import Client
    from structlog.typing import FilteringBoundLogger


def owner(nc: Client, log: FilteringBoundLogger) -> Realm:
    """A scheduler whose records are the broker's."""
    store = PatientStore(JobStore(nc), log)
    return Realm(store=store, slots=SLOTS)  # type: ignore[arg-type] # a Store is all it needs


async def records(nc: Client) -> dict[str, Job]:
    found = [stored async for stored in JobStore(nc).scan()]
    return {one.job.id: one.job for one in found if isinstance(one, Stored) and one.job}


async def test_every_owner_goes_on_where_the_last_one_was_cut_off(
    nc: Client, log: FilteringBoundLogger
) -> None:
    with closing(owner(nc, log)) as first:
        await led(first, "a", "b")
        await first.scheduler.receive(jobs.separated(0, job_id="leader"))
        await first.scheduler.receive(CancelJob(job_id="leader"))
    with closing(owner(nc, log)) as second:
        await second.scheduler.take_over()
        for _ in range(3):  # its leader has ended; its turn; more chunks
            await obey(second)
        heir = (await records(nc))["a"]
        orders = [word for word in heir.outbox if isinstance(word, SeparateWork)]
        assert [(one.run, one.chunk) for one in orders] == [("leader", 1), ("leader", 2)]
        await finish(second, orders)
    with closing(owner(nc, log)) as third:
        await third.scheduler.take_over()
        await obey(third)
        await third.scheduler.receive(twin("c"))
    found = await records(nc)
    assert {job_id: job.status for job_id, job in found.items()} == {
        "leader": Status.CANCELLED,
        **dict.fromkeys("abc", Status.COMPLETED),
    }
    assert found["a"].result == found["b"].result == found["c"].result
