"""A gateway's read model over the real bucket: current at start, and whatever gets lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.catalogue import Catalogue
from services.gateway.feed import Feed
from services.gateway.overview import Overviews, State
from services.gateway.places import Places
from services.gateway.projection import Mark, Projection, Row
from services.gateway.ring import Ring
from services.gateway.rumours import Rumours
from services.gateway.schema import open_database
from services.gateway.tallies import Tallies
from services.gateway.workers import Workers
from shared.contracts.codec import encode
from shared.contracts.job import Phase, Status
from shared.contracts.live import Activity, Beat, ModelOffer, Progress, Queue
from shared.contracts.snapshot import snapshot
from shared.contracts.subjects import ALL_RECORDS, subject_of
from shared.contracts.work import Stage
from shared.jetstream.connection import flushed
from shared.jetstream.store import JobStore
from shared.jetstream.topology import JOBS, JOBS_SUBJECT, provision
from tests.support.batches import BATCH, called_off, submitted, submitting
from tests.support.jobs import JOB, NOW, completed, downloading, pending, separating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
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
        self.db = open_database(path)
        self.projection = Projection(self.db)
        self.ring = Ring()
        self.catalogue = Catalogue(lambda: 0.0)
        self.workers = Workers(lambda: 0.0)
        self.places = Places(now=lambda: NOW, steady=lambda: 0.0)
        self.feed = Feed(
            nc=nc,
            records=self.store,
            projection=self.projection,
            overviews=Overviews(projection=self.projection, tallies=Tallies(self.db)),
            places=self.places,
            ring=self.ring,
            now=lambda: NOW,
            log=log,
        )
        self.rumours = Rumours(
            nc=nc, places=self.places, catalogue=self.catalogue, workers=self.workers, log=log
        )
        self.stopping = asyncio.Event()
        self.running: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Look for what was missed, until the test is over."""
        self.running = asyncio.create_task(self.feed.run(self.stopping))

    async def close(self) -> None:
        self.stopping.set()
        if self.running is not None:
            await asyncio.wait_for(self.running, 10)
        self.db.close()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what makes ``true`` so."""
        async with asyncio.timeout(20):
            while not true():
                await self.ring.wait(self.ring.end, 0.05)

    async def tell(self, percent: float, job_id: str = JOB) -> None:
        progress = Progress(
            job_id=job_id,
            phase=Phase.SEPARATION,
            progress=percent,
            activity=Activity.SEPARATING,
        )
        await self.nc.publish(subject_of(progress), encode(progress))

    async def deaf(self) -> None:
        """Lose what is told of records from now on."""
        for subscription in list(self.nc._subs.values()):
            if subscription.subject == ALL_RECORDS:
                await subscription.unsubscribe()

    async def hear_again(self) -> None:
        await self.nc.subscribe(ALL_RECORDS, cb=self.feed._on_record)

    @property
    def known(self) -> list[Mark]:
        return self.projection.changed_after(0, 99)

    @property
    def events(self) -> list[tuple[str, int | None]]:
        """(event, revision) of every frame in the ring."""
        return [
            (frame.text.partition(b"event: ")[2].partition(b"\n")[0].decode(), frame.revision)
            for frame in self.ring.since(0) or ()
        ]


@pytest.fixture
async def house(nc: Client, tmp_path: Path, log: FilteringBoundLogger) -> AsyncIterator[House]:
    house = House(nc, tmp_path / "jobs.sqlite", log)
    yield house
    await house.close()


async def test_what_was_written_before_is_known_at_once_and_told_to_nobody(house: House) -> None:
    for number in range(70):
        await house.store.write(replace(pending(), id=f"j{number}"), 0)
    await house.store.write_batch(submitted(), 0)
    await house.store.remove("j3", 4)
    await house.feed.start()
    assert [mark.revision for mark in house.known] == [1, 2, 3, *range(5, 73)]
    assert [str(mark.id) for mark in house.known[-2:]] == [BATCH, "j3"]
    assert (house.ring.end, house.feed.touched(9)) == (0, [])


async def test_a_follower_is_told_how_far_its_leader_is(house: House) -> None:
    await house.feed.start()
    leader = await house.store.write(separating(1), 0)
    follower = replace(pending(), id="twin", follows=JOB)
    last = await house.store.write(follower, 0)
    await house.until(lambda: house.projection.revision == last)
    await house.tell(55.0)
    await house.until(lambda: len(house.ring.since(0) or ()) == 4)
    told = [frame for frame in house.ring.since(0) or () if frame.job_id == "twin"]
    assert [frame.revision for frame in told] == [last, None]
    assert b'"progress":55.0' in told[-1].text
    # It sees the chunks that are done, and is told of them though its record is the same.
    last = await house.store.write(separating(2), leader)
    await house.until(lambda: house.projection.revision == last)
    row = house.projection.get("twin")
    assert row is not None
    seen = house.feed.now(row.snapshot)
    expected = snapshot(separating(2))
    assert (seen.status, seen.progress) == (Status.PENDING, max(55.0, expected.progress))
    assert seen.separation == expected.separation
    newest = (house.ring.since(0) or ())[-1]
    assert (newest.job_id, newest.revision, newest.last) == ("twin", None, False)
    # What the leader comes to is the follower's only when its own record says so.
    before = len(house.ring.since(0) or ())
    last = await house.store.write(completed(), last)
    await house.until(lambda: house.projection.revision == last)
    assert [frame.job_id for frame in (house.ring.since(0) or ())[before:]] == [JOB]
    assert house.feed.now(row.snapshot).status is Status.PENDING
    last = await house.store.write(replace(follower, follows=None), 2)
    await house.until(lambda: house.projection.revision == last)
    await house.tell(60.0)
    await house.tell(61.0, "nobody")
    assert house.events[-1] == ("job", last)


async def test_a_follower_that_is_held_is_told_nothing(house: House) -> None:
    await house.feed.start()
    await house.store.write(separating(1), 0)
    kept = replace(pending(), id="twin", follows=JOB, held_at=NOW)
    last = await house.store.write(kept, 0)
    await house.until(lambda: house.projection.revision == last)
    await house.tell(55.0)
    await house.until(lambda: len(house.ring.since(0) or ()) == 3)
    assert [frame.job_id for frame in house.ring.since(0) or ()] == [JOB, "twin", JOB]
    row = house.projection.get("twin")
    assert row is not None
    assert house.feed.now(row.snapshot).progress == 0


async def test_what_is_written_is_known_and_told(house: House) -> None:
    await house.feed.start()
    first = await house.store.write(pending(), 0)
    last = await house.store.write(completed(), first)
    await house.until(lambda: house.projection.revision == last)
    assert Row(last, snapshot(completed())) == house.projection.get(JOB)
    frames = house.ring.since(0) or ()
    assert [(first, False), (last, True)] == [(frame.revision, frame.last) for frame in frames]


async def test_what_got_lost_is_read_from_the_bucket(house: House) -> None:
    await house.feed.start()
    await house.deaf()
    lost = await house.store.write(pending(), 0)
    batch = await house.store.write_batch(submitted(), 0)
    later = await house.store.write(replace(downloading(), id="j2"), 0)
    removed = await house.store.remove(JOB, lost)
    await house.hear_again()
    house.run()
    seen = await house.store.write(replace(separating(), id="j3"), 0)
    await house.until(lambda: house.projection.revision == seen)
    assert house.known == [
        Mark(batch, "batch", BATCH),
        Mark(later, "job", "j2"),
        Mark(removed, "job", JOB, gone=True),
        Mark(seen, "job", "j3"),
    ]
    assert house.events == [("batch", batch), ("job", later), ("gone", removed), ("job", seen)]


async def test_what_was_removed_is_forgotten_and_told(house: House, js: JetStreamContext) -> None:
    await house.feed.start()
    first = await house.store.write(pending(), 0)
    second = await house.store.write(replace(pending(), id="j2"), 0)
    batch = await house.store.write_batch(submitted(), 0)
    await house.store.remove(JOB, first, "digest")
    await house.store.remove_batch(BATCH, batch)
    # An operator's ``nats kv del`` is one, too.
    await js.publish(JOBS_SUBJECT + "j2", b"", headers={"KV-Operation": "DEL"})
    await house.until(lambda: house.projection.revision == 6)
    assert (house.projection.get(JOB), house.projection.get("j2")) == (None, None)
    assert house.projection.batch(BATCH) is None
    assert house.events == [
        *(("job", first), ("job", second), ("batch", batch)),
        *(("gone", 4), ("batch_gone", 5), ("gone", 6)),
    ]
    last = (house.ring.since(3) or ())[0]
    assert (last.job_id, last.last) == (JOB, True)


async def test_what_is_no_record_is_logged_and_the_next_is_taken(
    house: House, js: JetStreamContext, log_lines: LogCapture
) -> None:
    await house.feed.start()
    await js.publish(f"{JOBS_SUBJECT}bad", b"{")
    await js.publish(f"{JOBS_SUBJECT}batch.bad", b"[]")
    revision = await house.store.write(pending(), 0)
    await js.publish(JOBS_SUBJECT + "bad", b"", headers={"KV-Operation": "DEL"})
    await house.feed._catch_up()
    assert revision == (house.projection.get(JOB) or (0,))[0]
    assert {line["event"] for line in log_lines.entries} == {"undecodable record"}


async def test_what_the_broker_did_not_send_is_not_taken_for_a_record(house: House) -> None:
    await house.feed.start()
    await house.nc.publish("live.jobs.forged", encode(replace(pending(), id="forged")))
    await flushed(house.nc)
    revision = await house.store.write(pending(), 0)
    await house.until(lambda: house.projection.revision == revision)
    assert house.projection.get("forged") is None
    assert not house.feed._suspicious


async def test_a_batch_is_told_when_it_changes_and_its_progress_with_its_jobs(
    house: House,
) -> None:
    await house.feed.start()
    first = await house.store.write_batch(submitting(), 0)
    # How far its jobs are made is nothing that clients have to know at once.
    second = await house.store.write_batch(replace(submitting(), submitted=1, next=1), first)
    await house.until(lambda: house.projection.revision == second)
    assert house.events == [("batch", first)]
    assert (house.feed.touched(9), house.feed.touched(9)) == ([BATCH], [])
    third = await house.store.write(replace(completed(), id="b1-0", batch=BATCH), 0)
    await house.until(lambda: house.projection.revision == third)
    assert house.feed.touched(9) == [BATCH]
    last = await house.store.write_batch(called_off(), second)
    await house.until(lambda: house.projection.revision == last)
    assert house.events == [("batch", first), ("job", third), ("batch", last)]


async def test_ticks_move_the_batch_too_and_a_record_does_not_take_it_back(house: House) -> None:
    await house.feed.start()
    job = replace(separating(1), batch=BATCH)
    batch = await house.store.write_batch(replace(submitted(), entries=submitted().entries[:1]), 0)
    first = await house.store.write(job, 0)
    await house.tell(77.0)
    await house.until(lambda: house.ring.end == 3)
    row = house.projection.batch(BATCH)
    assert row is not None
    assert row.revision == batch
    assert house.feed._overviews.of(row.snapshot).progress == 77.0
    second = await house.store.write(replace(job, updated_at=NOW + timedelta(seconds=1)), first)
    await house.until(lambda: house.projection.revision == second)
    body = house.feed._overviews.of(row.snapshot)
    assert (body.progress, body.state) == (77.0, State.PROCESSING)


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
    await flushed(house.nc)
    await house.store.write(replace(pending(), id="j2"), 0)
    await house.until(lambda: house.projection.get("j2") is not None)
    assert (house.feed._live, house.ring.end) == ({}, 4)


async def test_the_queue_s_order_is_heard_and_shown(house: House) -> None:
    await house.rumours.start()
    await house.feed.start()
    await house.nc.publish("live.queue", b"{")
    queue = Queue(at=NOW, order=("j0", JOB), waiting=2, rate=0.5, run_seconds=60.0)
    await house.nc.publish(subject_of(queue), encode(queue))
    await house.until(lambda: house.places.newest is not None)
    await house.store.write(pending(), 0)
    await house.until(lambda: house.ring.end == 1)
    row = house.projection.get(JOB)
    assert row is not None
    seen = house.feed.now(row.snapshot)
    assert (seen.position, seen.starts_at) == (2, NOW + timedelta(seconds=2))
    assert b'"position":2,' in (house.ring.since(0) or ())[0].text


async def test_workers_of_every_stage_are_heard(house: House) -> None:
    await house.rumours.start()
    await house.nc.publish("worker.download.bad", b"{")
    offer = ModelOffer(name="own", sources=("vocals",), ready=True)
    for stage in Stage:
        models = (offer,) if stage is Stage.SEPARATE else ()
        beat = Beat(worker="w1", stage=stage, slots=1, busy=0, models=models)
        await house.nc.publish(subject_of(beat), encode(beat))
    await house.until(lambda: len(house.workers.there()) == len(Stage))
    assert "own" in house.catalogue.offers()


async def remake(js: JetStreamContext) -> None:
    """What an operator does who lost the bucket."""
    await js.delete_stream(JOBS)
    await provision(js)


async def test_a_bucket_that_was_made_anew_is_read_anew(
    house: House, js: JetStreamContext, log_lines: LogCapture
) -> None:
    await house.feed.start()
    for number in range(5):
        await house.store.write(replace(pending(), id=f"j{number}"), 0)
    await house.until(lambda: house.projection.revision == 5)
    house.run()
    await remake(js)
    await house.store.write(replace(completed(), id="new"), 0)
    await house.until(lambda: house.ring.era == 1)
    assert house.known == [Mark(1, "job", "new")]
    assert "the jobs' bucket was made anew; so is all that is known of it" in [
        line["event"] for line in log_lines.entries
    ]
    end = house.ring.end
    await house.store.write_batch(submitted(), 0)
    await house.until(lambda: house.projection.revision == 2)
    assert [frame.revision for frame in house.ring.since(end) or ()] == [2]


@pytest.mark.parametrize("written", [0, 1, 9])
async def test_so_is_one_that_was_made_anew_while_nobody_listened(
    house: House, js: JetStreamContext, written: int
) -> None:
    await house.feed.start()
    for number in range(5):
        await house.store.write(replace(pending(), id=f"j{number}"), 0)
    await house.until(lambda: house.projection.revision == 5)
    await house.deaf()
    await remake(js)
    for number in range(written):
        await house.store.write(replace(completed(), id=f"new{number}"), 0)
    house.feed._missed.set()
    house.run()
    await house.until(lambda: house.ring.era == 1)
    assert len(house.known) == written


async def test_a_bucket_that_can_t_be_asked_is_not_taken_for_an_empty_one(
    house: House, js: JetStreamContext
) -> None:
    await house.feed.start()
    await house.store.write(pending(), 0)
    await house.until(lambda: house.projection.revision == 1)
    await js.delete_stream(JOBS)
    house.feed._missed.set()
    house.run()
    await asyncio.sleep(0.5)
    assert (house.ring.era, house.known) == (0, [Mark(1, "job", JOB)])
