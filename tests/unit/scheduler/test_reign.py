"""A scheduler's time as the owner: takes over, decides, steps down."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler import reign as reign_module
from services.scheduler.live import LiveProgress
from services.scheduler.outlook import Outlook
from services.scheduler.reign import Reign
from shared.actor import host as host_module
from shared.actor.host import Host
from shared.contracts.codec import Decoder, encode
from shared.contracts.commands import Accepted, Command, Reply
from shared.contracts.facts import Fact
from shared.contracts.job import Job, Status
from shared.contracts.work import Stage, Word
from tests.support import jobs
from tests.support.jobs import JOB
from tests.support.memory import MemoryMailbox, MemorySpeaker
from tests.support.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.actor import Message
    from shared.contracts.live import Queue
    from shared.telemetry import Telemetry


class FakeLease:
    """A lease that a test gives and takes."""

    def __init__(self) -> None:
        self.given = asyncio.Event()
        self.taken = asyncio.Event()
        self.story: list[str] = []

    @property
    def held(self) -> bool:
        return self.given.is_set() and not self.taken.is_set()

    async def acquire(self) -> None:
        await self.given.wait()
        self.story.append("acquired")

    async def keep(self) -> None:
        await self.taken.wait()

    async def release(self) -> None:
        self.story.append("released")
        self.given.clear()
        self.taken.clear()


class Court:
    """A reign with everything around it in memory."""

    def __init__(self, log: FilteringBoundLogger, telemetry: Telemetry, *existing: Job) -> None:
        self.lease = FakeLease()
        self.realm = Realm(*existing, log=log)
        self.store = self.realm.store
        self.mailbox = MemoryMailbox()
        self.speaker: MemorySpeaker[Word | Reply] = MemorySpeaker()
        self.said = asyncio.Event()
        self.speaker.say = self._say  # type: ignore[method-assign] # to be told of words
        self.scheduler = self.realm.scheduler
        self.told: list[Queue] = []

        def new_host() -> Host[Message, Word | Reply]:
            return Host(
                mailbox=self.mailbox,
                decoder=Decoder(Command | Fact),
                actor=self.scheduler,
                speaker=self.speaker,
                telemetry=telemetry,
                log=log,
            )

        reign = Reign(
            lease=self.lease,
            scheduler=self.scheduler,
            new_host=new_host,
            speaker=self.speaker,
            live=LiveProgress(self.scheduler),
            outlook=Outlook(send=self._tell, steady=self.realm.clock.steady),
            grace=1.0,
            steady=monotonic,
            log=log,
        )
        self.stopping = asyncio.Event()
        self.running = asyncio.create_task(reign.run(self.stopping))

    async def _say(self, word: Word | Reply) -> None:
        self.speaker.said.append(word)
        self.said.set()

    async def _tell(self, queue: Queue) -> None:
        self.told.append(queue)
        self.said.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a word that makes ``true`` so."""
        async with asyncio.timeout(5):
            while not true():
                self.said.clear()
                await self.said.wait()

    def put(self, message: Command | Fact) -> None:
        self.mailbox.put("inbox", encode(message))

    async def stop(self) -> None:
        self.stopping.set()
        await asyncio.wait_for(self.running, 5)
        self.realm.close()


@pytest.fixture(autouse=True)
def _patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may rest on looking every second."""
    monkeypatch.setattr(reign_module, "LOOK_SECONDS", 60.0)
    monkeypatch.setattr(reign_module, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(host_module, "FETCH_SECONDS", 0.05)
    monkeypatch.setattr(host_module, "PAUSE_SECONDS", 0.05)


async def test_a_standby_decides_nothing_and_stops_at_once(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry, jobs.downloading())
    court.put(jobs.downloaded())
    await asyncio.sleep(0.02)
    await court.stop()
    assert (court.speaker.said, court.lease.story, court.mailbox.stored) == ([], [], 1)


async def test_an_owner_says_what_may_not_have_been_said_then_handles_what_comes(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry, jobs.downloading())
    court.lease.given.set()
    court.put(jobs.downloaded())
    await court.until(lambda: len(court.speaker.said) >= 2)
    await court.stop()
    assert [*jobs.downloading().outbox, *jobs.preparing().outbox] == [
        replace(word) for word in court.speaker.said
    ]
    assert court.lease.story == ["acquired", "released"]


async def test_a_submission_is_answered_and_dispatched(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry)
    court.lease.given.set()
    court.put(jobs.submit(reply_to="a"))
    await court.until(lambda: len(court.speaker.said) >= 2)
    await court.stop()
    reply, order = court.speaker.said
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, Accepted)
    assert reply.answer.job.status == Status.PENDING
    assert [order] == list(jobs.downloading().outbox)


async def test_a_unit_is_ordered_again_when_its_time_has_come(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    waiting = jobs.live(jobs.downloading(), jobs.failed(Stage.DOWNLOAD, "source"))
    court = Court(log, telemetry, waiting)
    court.realm.forward(1.0)
    court.lease.given.set()
    await court.until(lambda: bool(court.speaker.said))
    await court.stop()
    assert [replace(jobs.downloading().outbox[0], attempt=2)] == court.speaker.said


async def test_a_time_that_has_just_passed_is_not_slept_over(
    log: FilteringBoundLogger, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    court = Court(log, telemetry)
    looked = asyncio.Event()

    def decisions() -> list[object]:
        if not court.scheduler.stirred.is_set():
            looked.set()
        return []

    monkeypatch.setattr(court.scheduler, "next_due", lambda: 0.0)
    monkeypatch.setattr(court.scheduler, "decisions", decisions)
    court.lease.given.set()
    await asyncio.wait_for(looked.wait(), 5)
    looked.clear()
    await asyncio.wait_for(looked.wait(), 5)
    await court.stop()


async def test_an_owner_that_loses_its_lease_stands_by_and_can_come_back(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry, jobs.pending())
    court.lease.given.set()
    await court.until(lambda: bool(court.speaker.said))
    court.lease.taken.set()
    async with asyncio.timeout(5):
        while "released" not in court.lease.story:  # noqa: ASYNC110 - the lease is a fake
            await asyncio.sleep(0)
    court.put(jobs.downloaded())
    await asyncio.sleep(0.02)
    assert (court.store.job(JOB) or jobs.pending()).status == Status.PROCESSING
    words = len(court.speaker.said)
    court.lease.given.set()
    await court.until(lambda: len(court.speaker.said) >= words + 2)
    await court.stop()
    assert court.lease.story == ["acquired", "released"] * 2
    assert [*jobs.downloading().outbox, *jobs.preparing().outbox] == court.speaker.said[words:]


async def test_a_standby_follows_what_the_owner_writes(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry, jobs.pending())
    async with asyncio.timeout(5):
        while court.scheduler.active < 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        court.store.put(replace(jobs.pending(), id="j2"))
        while court.scheduler.active < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await court.stop()
    assert court.speaker.said == []


async def test_an_owner_tells_in_which_order_jobs_will_have_their_turns(
    log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    court = Court(log, telemetry, *(replace(jobs.pending(), id=f"j{one}") for one in range(3)))
    court.lease.given.set()
    await court.until(lambda: bool(court.told))
    await court.stop()
    assert court.told[0].order == ("j1", "j2")
