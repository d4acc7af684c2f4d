"""The host of an actor: what is said before what is settled, and what an orderly stop leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.actor import host as host_module
from shared.actor.host import Host
from shared.contracts.codec import Decoder, encode
from shared.contracts.work import StopOrder
from tests.support.memory import MemoryMailbox, MemorySpeaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger

    from shared.telemetry import Telemetry


class Echo:
    """An actor that says each job's id, when it is let."""

    def __init__(self) -> None:
        self.received: list[tuple[str, int]] = []
        self.failing: list[Exception] = []
        self.free = asyncio.Event()
        self.free.set()
        self.at_work = 0
        self.most_at_work = 0
        self.started = asyncio.Event()

    async def receive(self, message: StopOrder, *, deliveries: int) -> Sequence[str]:
        self.received.append((message.job_id, deliveries))
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.started.set()
        try:
            await self.free.wait()
        finally:
            self.at_work -= 1
        if self.failing:
            raise self.failing.pop(0)
        return (message.job_id, f"{message.job_id}!")


class Bench:
    """A host with everything around it."""

    def __init__(self, log: FilteringBoundLogger, telemetry: Telemetry) -> None:
        self.mailbox = MemoryMailbox()
        self.speaker: MemorySpeaker[str] = MemorySpeaker()
        self.actor = Echo()
        self.stopping = asyncio.Event()
        self._log = log
        self._telemetry = telemetry
        self._running: asyncio.Task[None] | None = None

    def put(self, *job_ids: str) -> None:
        for job_id in job_ids:
            self.mailbox.put(f"a.{job_id}", encode(StopOrder(job_id=job_id)))

    def run(
        self,
        *,
        slots: int = 1,
        batch: int = 1,
        grace: float = 5.0,
        in_progress_seconds: float = 10.0,
        may_take: Callable[[], bool] = lambda: True,
    ) -> Host[StopOrder, str]:
        host: Host[StopOrder, str] = Host(
            mailbox=self.mailbox,
            decoder=Decoder(StopOrder),
            actor=self.actor,
            speaker=self.speaker,
            telemetry=self._telemetry,
            log=self._log,
            slots=slots,
            batch=batch,
            in_progress_seconds=in_progress_seconds,
            may_take=may_take,
        )
        self._running = asyncio.create_task(host.run(self.stopping, grace=grace))
        return host

    async def settled(self, count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(5):
            await self.mailbox.until(lambda: len(self.mailbox.settled) >= count)
        return self.mailbox.settled

    async def stop(self) -> None:
        self.stopping.set()
        if self._running is not None:
            await asyncio.wait_for(self._running, 5)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(host_module, "FETCH_SECONDS", 0.05)


@pytest.fixture
async def bench(log: FilteringBoundLogger, telemetry: Telemetry) -> AsyncIterator[Bench]:
    bench = Bench(log, telemetry)
    yield bench
    bench.actor.free.set()
    await bench.stop()


async def test_a_message_is_acknowledged_after_its_words_are_said(bench: Bench) -> None:
    order: list[str] = []
    say = bench.speaker.say

    async def slowly(word: str) -> None:
        await asyncio.sleep(0)
        order.append(word)
        assert bench.mailbox.settled == []
        await say(word)

    bench.speaker.say = slowly  # type: ignore[method-assign] # to see the order of things
    bench.put("a")
    bench.run()
    assert await bench.settled(1) == [("ack", "a.a")]
    assert ["a", "a!"] == order == bench.speaker.said


async def test_a_message_that_fails_comes_again(bench: Bench) -> None:
    bench.actor.failing = [RuntimeError("once"), KeyError("twice")]
    bench.put("a")
    bench.run()
    assert [what for what, _ in await bench.settled(3)] == ["nak", "nak", "ack"]
    assert bench.actor.received == [("a", 1), ("a", 2), ("a", 3)]
    assert bench.speaker.said == ["a", "a!"]


async def test_a_failure_is_logged_with_its_subject(bench: Bench, log_lines: LogCapture) -> None:
    bench.actor.failing = [RuntimeError("once")]
    bench.put("a")
    bench.run()
    await bench.settled(2)
    assert [(line["event"], line["subject"]) for line in log_lines.entries] == [
        ("message failed", "a.a")
    ]


async def test_words_that_can_t_be_said_keep_the_message(bench: Bench) -> None:
    say, lost = bench.speaker.say, [RuntimeError("lost")]

    async def once_lost(word: str) -> None:
        if lost:
            raise lost.pop()
        await say(word)

    bench.speaker.say = once_lost  # type: ignore[method-assign] # to fail once
    bench.put("a")
    bench.run()
    assert [what for what, _ in await bench.settled(2)] == ["nak", "ack"]
    assert bench.speaker.said == ["a", "a!"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"job_id": 3}', b"\xff", b"[" * 100_000])
async def test_what_can_t_be_decoded_is_discarded_in_the_end_and_the_next_is_handled(
    bench: Bench, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "UNDECODABLE_DELIVERIES", 1)
    bench.mailbox.put("a.bad", body)
    bench.put("a")
    bench.run()
    assert await bench.settled(2) == [("discard", "a.bad"), ("ack", "a.a")]
    assert bench.actor.received == [("a", 1)]


async def test_what_can_t_be_decoded_waits_for_takers_of_its_version(bench: Bench) -> None:
    bench.mailbox.put("a.newer", b"{")
    bench.run()
    assert await bench.settled(1) == [("nak", "a.newer")]


async def test_no_more_messages_are_at_work_than_there_are_slots(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put(*"abcdef")
    host = bench.run(slots=3)
    async with asyncio.timeout(5):
        while host.busy < 3:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert (host.busy, bench.actor.most_at_work) == (3, 3)
    bench.actor.free.set()
    await bench.settled(6)
    assert bench.actor.most_at_work == 3


async def test_the_messages_of_a_batch_are_handled_one_after_another(bench: Bench) -> None:
    bench.put(*"abcd")
    bench.run(batch=4)
    await bench.settled(4)
    assert (
        bench.actor.received,
        bench.actor.most_at_work,
    ) == ([("a", 1), ("b", 1), ("c", 1), ("d", 1)], 1)


async def test_a_message_of_our_own_takes_its_turn(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put("a")
    host = bench.run()
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    own = asyncio.create_task(host.inject(StopOrder(job_id="own"), {}))
    await asyncio.sleep(0.02)
    assert bench.actor.received == [("a", 1)]
    bench.actor.free.set()
    await asyncio.wait_for(own, 5)
    assert (bench.speaker.said, bench.actor.most_at_work) == (["a", "a!", "own", "own!"], 1)
    assert bench.mailbox.settled == [("ack", "a.a")]


async def test_a_stop_lets_finish_what_fits_into_the_grace(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put("a", "b")
    bench.run()
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    bench.stopping.set()
    await asyncio.sleep(0.01)
    bench.actor.free.set()
    await bench.stop()
    assert (bench.mailbox.settled, bench.speaker.said) == ([("ack", "a.a")], ["a", "a!"])


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_stop_hands_back_what_does_not_fit_into_the_grace(bench: Bench, slots: int) -> None:
    """With every slot taken as with one free."""
    bench.actor.free.clear()
    bench.put("a")
    bench.run(slots=slots, grace=0.05)
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    await bench.stop()
    assert (
        bench.mailbox.settled,
        bench.speaker.said,
        bench.mailbox.stored,
    ) == ([("nak", "a.a")], [], 1)


async def test_a_stop_hands_back_the_rest_of_a_batch(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put(*"abc")
    bench.run(batch=3)
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    bench.stopping.set()
    bench.actor.free.set()
    await bench.stop()
    assert bench.mailbox.settled == [("ack", "a.a"), ("nak", "a.b"), ("nak", "a.c")]


async def test_what_arrives_after_the_stop_is_not_begun(bench: Bench) -> None:
    bench.run()
    await asyncio.sleep(0.01)
    bench.put("a")  # the fetch that is under way will bring it
    bench.stopping.set()
    await bench.stop()
    assert (bench.actor.received, bench.mailbox.stored) == ([], 1)


async def test_a_long_message_is_kept_alive(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put("a")
    bench.run(in_progress_seconds=0.01)
    assert {("in_progress", "a.a")} == set(await bench.settled(3))
    bench.actor.free.set()
    async with asyncio.timeout(5):
        await bench.mailbox.until(lambda: ("ack", "a.a") in bench.mailbox.settled)
    settled = len(bench.mailbox.settled)
    await asyncio.sleep(0.05)
    assert settled == len(bench.mailbox.settled)


async def test_what_waits_its_turn_in_a_batch_is_kept_alive_too(bench: Bench) -> None:
    bench.actor.free.clear()
    bench.put("a", "b")
    bench.run(batch=2, in_progress_seconds=0.01)
    assert {("in_progress", "a.a"), ("in_progress", "a.b")} == set(await bench.settled(4))


async def test_nothing_is_begun_while_nothing_may_be_taken_and_then_it_is(bench: Bench) -> None:
    allowed: list[bool] = []
    asked = asyncio.Event()

    def may_take() -> bool:
        asked.set()
        return bool(allowed)

    bench.put("a")
    bench.run(slots=2, may_take=may_take)
    for _ in range(3):
        asked.clear()
        await asyncio.wait_for(asked.wait(), 5)
    assert (bench.actor.received, bench.mailbox.settled) == ([], [])
    allowed.append(True)
    assert await bench.settled(1) == [("ack", "a.a")]


async def test_what_is_at_work_goes_on_while_nothing_may_be_taken(bench: Bench) -> None:
    allowed = [True]
    bench.actor.free.clear()
    bench.put("a")
    bench.run(slots=2, may_take=lambda: bool(allowed))
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    allowed.clear()
    bench.put("b")
    bench.actor.free.set()
    assert (await bench.settled(1))[0] == ("ack", "a.a")
    await bench.stop()


async def test_a_host_that_takes_nothing_stops_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "PAUSE_SECONDS", 60.0)
    asked = asyncio.Event()

    def may_take() -> bool:
        asked.set()
        return False

    bench.run(may_take=may_take)
    await asyncio.wait_for(asked.wait(), 5)
    await bench.stop()


async def test_a_host_that_waits_for_a_message_stops_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "FETCH_SECONDS", 60.0)
    bench.run(slots=2)
    await asyncio.sleep(0.01)
    await bench.stop()
    bench.put("a")
    assert bench.mailbox.stored == 1


async def test_while_the_last_message_is_finished_nothing_more_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes then is there for others, who may have hands free."""
    monkeypatch.setattr(host_module, "FETCH_SECONDS", 60.0)
    bench.actor.free.clear()
    bench.put("a")
    bench.run(slots=2)
    await asyncio.wait_for(bench.actor.started.wait(), 5)
    bench.stopping.set()
    await asyncio.sleep(0.01)
    bench.put("b")
    (found,) = await bench.mailbox.another().fetch(2, 5)
    assert (found.subject, found.deliveries) == ("a.b", 1)
    bench.actor.free.set()
    await bench.stop()
    assert bench.mailbox.settled == [("ack", "a.a")]


async def test_a_broker_that_is_away_is_asked_again(bench: Bench, log_lines: LogCapture) -> None:
    fetch, away = bench.mailbox.fetch, [ConnectionError("away"), ConnectionError("still")]

    async def flaky(limit: int, timeout: float) -> object:  # noqa: ASYNC109 - see Mailbox
        if away:
            raise away.pop(0)
        return await fetch(limit, timeout)

    monkeypatch_fetch(bench.mailbox, flaky)
    bench.put("a")
    bench.run()
    assert await bench.settled(1) == [("ack", "a.a")]
    assert [line["reason"] for line in log_lines.entries] == ["away", "still"]


def monkeypatch_fetch(mailbox: MemoryMailbox, fetch: object) -> None:
    """Put a fault in front of a mailbox."""
    mailbox.fetch = fetch  # type: ignore[assignment,method-assign] # a fault is injected
