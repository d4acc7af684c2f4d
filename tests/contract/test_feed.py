"""A gateway's read model over the real bucket: current at start, and whatever gets lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.catalogue import Catalogue
from services.gateway.feed import Feed
from services.gateway.projection import Projection, Row
from services.gateway.ring import Ring
from shared.contracts.codec import encode
from shared.contracts.job import Phase
from shared.contracts.live import Activity, Beat, ModelOffer, Progress
from shared.contracts.snapshot import snapshot
from shared.contracts.subjects import subject_of
from shared.contracts.work import Stage
from shared.jetstream.store import JobStore
from shared.jetstream.topology import JOBS_SUBJECT
from tests.support.jobs import JOB, completed, downloading, pending, separating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger


class House:
    """A gateway's live side and the bucket that it follows."""

    def __init__(self, nc: Client, path: Path, log: FilteringBoundLogger) -> None:
        self.nc = nc
        self.store = JobStore(nc)
        self.projection = Projection(path)
        self.ring = Ring()
        self.catalogue = Catalogue(lambda: 0.0)
        self.feed = Feed(
            nc=nc,
            records=self.store,
            projection=self.projection,
            ring=self.ring,
            catalogue=self.catalogue,
            log=log,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a frame that makes ``true`` so."""
        async with asyncio.timeout(10):
            while not true():
                await self.ring.wait(self.ring.end, 0.1)

    async def tell(self, percent: float, job_id: str = JOB) -> None:
        progress = Progress(
            job_id=job_id,
            phase=Phase.SEPARATION,
            progress=percent,
            activity=Activity.SEPARATING,
        )
        await self.nc.publish(subject_of(progress), encode(progress))


@pytest.fixture
def house(nc: Client, tmp_path: Path, log: FilteringBoundLogger) -> Iterator[House]:
    house = House(nc, tmp_path / "jobs.sqlite", log)
    yield house
    house.projection.close()


async def test_what_was_written_before_is_known_at_once(house: House) -> None:
    for number in range(3):
        await house.store.write(replace(pending(), id=f"j{number}"), 0)
    await house.feed.start()
    rows = house.projection.changed_after(0, 9)
    assert [f"j{number}" for number in range(3)] == [row.snapshot.id for row in rows]


async def test_what_is_written_is_known_and_told(house: House) -> None:
    await house.feed.start()
    first = await house.store.write(pending(), 0)
    last = await house.store.write(completed(), first)
    await house.until(lambda: house.projection.revision == last)
    assert Row(last, snapshot(completed())) == house.projection.get(JOB)
    frames = house.ring.since(0) or ()
    assert [(first, False), (last, True)] == [(frame.revision, frame.last) for frame in frames]


async def test_a_snapshot_that_got_lost_is_read_from_the_bucket(house: House) -> None:
    await house.feed.start()
    for subject in list(house.nc._subs.values()):
        if subject.subject == "live.jobs.*":
            await subject.unsubscribe()
    lost = await house.store.write(pending(), 0)
    later = await house.store.write(replace(downloading(), id="j2"), 0)
    await house.nc.subscribe("live.jobs.*", cb=house.feed._on_snapshot)
    stopping = asyncio.Event()
    running = asyncio.create_task(house.feed.run(stopping))
    seen = await house.store.write(replace(separating(), id="j3"), 0)
    await house.until(lambda: house.projection.revision == seen)
    stopping.set()
    house.feed._missed.set()
    await asyncio.wait_for(running, 5)
    assert [lost, later, seen] == [row.revision for row in house.projection.changed_after(0, 9)]
    frames = house.ring.since(0) or ()
    assert [lost, later, seen] == [frame.revision for frame in frames]


async def test_a_job_that_was_removed_is_forgotten(house: House, js: JetStreamContext) -> None:
    await house.feed.start()
    await house.store.write(pending(), 0)
    ack = await js.publish(JOBS_SUBJECT + JOB, b"", headers={"KV-Operation": "DEL"})
    await house.until(lambda: house.projection.revision == ack.seq)
    assert house.projection.get(JOB) is None


async def test_what_is_no_record_is_logged_and_the_next_is_taken(
    house: House, js: JetStreamContext, log_lines: LogCapture
) -> None:
    await house.feed.start()
    await js.publish(f"{JOBS_SUBJECT}bad", b"{")
    revision = await house.store.write(pending(), 0)
    await js.publish(JOBS_SUBJECT + "bad", b"", headers={"KV-Operation": "DEL"})
    await house.feed._catch_up()
    assert revision == (house.projection.get(JOB) or (0,))[0]
    assert [line["event"] for line in log_lines.entries] == ["undecodable record"]


async def test_progress_is_shown_and_never_goes_back(house: House) -> None:
    await house.feed.start()
    revision = await house.store.write(separating(1), 0)
    await house.until(lambda: house.projection.revision == revision)
    for percent in (55.0, 20.0, 61.5):
        await house.tell(percent)
    await house.tell(99.0, "unknown")
    await house.until(lambda: house.ring.end == 4)
    row = house.projection.get(JOB)
    assert row is not None
    assert (row.snapshot.progress, house.feed.now(row.snapshot).progress) == (50.0, 61.5)
    frames = (house.ring.since(0) or ())[1:]
    assert [
        frame.text[frame.text.index(b'"progress":') :].partition(b",")[0] for frame in frames
    ] == [b'"progress":55.0', b'"progress":55.0', b'"progress":61.5']


async def test_what_has_ended_is_moved_by_no_tick(house: House) -> None:
    await house.feed.start()
    first = await house.store.write(separating(1), 0)
    await house.until(lambda: house.projection.revision == first)
    await house.tell(80.0)
    await house.until(lambda: house.ring.end == 2)
    last = await house.store.write(completed(), first)
    await house.until(lambda: house.projection.revision == last)
    await house.tell(81.0)
    await house.nc.flush()
    await house.store.write(replace(pending(), id="j2"), 0)
    await house.until(lambda: house.projection.get("j2") is not None)
    assert (house.feed._live, house.ring.end) == ({}, 4)


async def test_separators_are_heard(house: House) -> None:
    await house.feed.start()
    offer = ModelOffer(name="own", sources=("vocals",), ready=True)
    beat = Beat(worker="w1", stage=Stage.SEPARATE, slots=1, busy=0, models=(offer,))
    await house.nc.publish(subject_of(beat), encode(beat))
    await house.until(lambda: "own" in house.catalogue.offers())
