"""A worker: wanted work becomes one fact, unwanted work becomes nothing."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from shared.actor import beat as beat_module
from shared.actor import worker as worker_module
from shared.actor.beat import Heart
from shared.actor.worker import MAX_DELIVERIES, Worker
from shared.contracts.commands import CancelJob
from shared.contracts.facts import Failed
from shared.contracts.live import Activity, Beat, Tick
from shared.contracts.problem import Problem
from shared.contracts.work import (
    UNIT_SOURCE,
    DownloadWork,
    SeparateWork,
    Stage,
    SweepWork,
    WorkBase,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.support.jobs import (
    JOB,
    broken,
    cancelled,
    completed,
    downloaded,
    downloading,
    live,
    pending,
    separated,
    separating,
)
from tests.support.memory import MemoryStore

if TYPE_CHECKING:
    from shared.actor.worker import Report
    from shared.contracts.facts import Fact
    from shared.contracts.job import Job


class Hands:
    """A performer that does as it is told."""

    def __init__(self, *ends: Fact | Exception | None) -> None:
        self.ends = list(ends)
        self.performed: list[WorkBase] = []
        self.cancelled = 0
        self.free = asyncio.Event()
        self.free.set()
        self.started = asyncio.Event()
        self.report: Report | None = None

    async def perform(self, work: WorkBase, report: Report) -> Fact | None:
        self.performed.append(work)
        self.report = report
        self.started.set()
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


class Ear:
    """Hears ticks."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.heard = asyncio.Event()
        self.fail: Exception | None = None

    async def __call__(self, tick: Tick) -> None:
        self.ticks.append(tick)
        self.heard.set()
        if self.fail:
            raise self.fail


def order_of(job: Job) -> DownloadWork | SeparateWork:
    order = job.outbox[0]
    assert isinstance(order, (DownloadWork, SeparateWork))
    return order


def worker_of(hands: Hands, job: Job | None, ear: Ear | None = None) -> Worker[WorkBase]:
    store = MemoryStore(job) if job else MemoryStore()
    return Worker(worker_id="w1", performer=hands, jobs=store, tick=ear or Ear())


SWEEP = SweepWork(job_id=JOB, attempt=1)


async def test_wanted_work_becomes_a_fact_that_says_who_and_how_long() -> None:
    hands = Hands(downloaded())
    worker = worker_of(hands, downloading())
    (fact,) = await worker.receive(order_of(downloading()), deliveries=1)
    assert fact == replace(downloaded(), worker="w1", elapsed=fact.elapsed)
    assert fact.elapsed > 0
    assert [order_of(downloading())] == hands.performed


async def test_a_time_that_the_performer_measured_is_kept() -> None:
    hands = Hands(replace(downloaded(), elapsed=7.0))
    (fact,) = await worker_of(hands, downloading()).receive(order_of(downloading()), deliveries=1)
    assert fact.elapsed == 7.0


@pytest.mark.parametrize(
    "job",
    [
        cancelled(),
        broken(),
        completed(),
        live(downloading(), downloaded()),
    ],
    ids=["cancelled", "failed", "completed", "done already"],
)
async def test_work_that_nobody_wants_is_dropped(job: Job | None) -> None:
    hands = Hands(downloaded())
    assert await worker_of(hands, job).receive(order_of(downloading()), deliveries=1) == ()
    assert hands.performed == []


async def test_work_of_an_older_attempt_is_dropped() -> None:
    hands = Hands(downloaded())
    work = replace(order_of(downloading()), attempt=0)
    assert await worker_of(hands, downloading()).receive(work, deliveries=1) == ()
    assert hands.performed == []


@pytest.mark.parametrize(
    ("job", "attempt"),
    [(None, 1), (pending(), 1), (downloading(), 2), (downloading(), 9)],
    ids=["no record", "not started", "one behind", "far behind"],
)
async def test_a_record_that_is_older_than_the_order_is_read_again(
    job: Job | None, attempt: int
) -> None:
    hands = Hands(downloaded())
    work = replace(order_of(downloading()), attempt=attempt)
    with pytest.raises(ConnectionError, match="no word yet"):
        await worker_of(hands, job).receive(work, deliveries=1)
    assert hands.performed == []


@pytest.mark.parametrize("job", [None, cancelled(), completed()], ids=["gone", "cancelled", "done"])
async def test_a_sweep_is_always_wanted_and_no_fact_follows(job: Job | None) -> None:
    hands = Hands(None)
    assert await worker_of(hands, job).receive(SWEEP, deliveries=1) == ()
    assert hands.performed == [SWEEP]


@pytest.mark.parametrize(
    "error",
    [
        TerminalError(Code.SOURCE_NOT_FOUND, "gone"),
        RetryableError(Code.SOURCE_RATE_LIMITED, "slow", retry_after=30.0),
    ],
)
async def test_a_failure_becomes_a_fact(error: TerminalError | RetryableError) -> None:
    worker = worker_of(Hands(error), separating())
    (fact,) = await worker.receive(order_of(separating()), deliveries=1)
    assert isinstance(fact, Failed)
    assert (JOB, Stage.SEPARATE, "0", 1, "w1", Problem.of(error)) == (
        fact.job_id,
        fact.stage,
        fact.unit,
        fact.attempt,
        fact.worker,
        fact.problem,
    )


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.STORAGE_FULL),
        (errno.EDQUOT, Code.STORAGE_FULL),
        (errno.EMFILE, Code.WORKER_CRASHED),
    ],
)
async def test_what_the_system_refuses_becomes_a_fact(number: int, code: Code) -> None:
    worker = worker_of(Hands(OSError(number, "refused")), downloading())
    (fact,) = await worker.receive(order_of(downloading()), deliveries=1)
    assert isinstance(fact, Failed)
    assert (code, True) == (fact.problem.code, fact.problem.retryable)


async def test_a_bug_is_the_host_s_to_handle() -> None:
    worker = worker_of(Hands(KeyError("bug")), downloading())
    with pytest.raises(KeyError):
        await worker.receive(order_of(downloading()), deliveries=1)


@pytest.mark.parametrize(
    ("deliveries", "poison"),
    [(1, False), (MAX_DELIVERIES, False), (MAX_DELIVERIES + 1, True), (999, True)],
)
async def test_work_that_was_handed_out_too_often_is_refused(
    deliveries: int, *, poison: bool
) -> None:
    hands = Hands(downloaded())
    worker = worker_of(hands, downloading())
    (fact,) = await worker.receive(order_of(downloading()), deliveries=deliveries)
    assert poison == isinstance(fact, Failed)
    assert poison == (not hands.performed)
    if isinstance(fact, Failed):
        assert (fact.problem.code, fact.problem.retryable) == (Code.WORKER_POISON, False)


async def test_stopping_a_job_ends_its_work_without_a_fact_and_no_other_s() -> None:
    hands = Hands(separated())
    hands.free.clear()
    worker = worker_of(hands, separating())
    running = asyncio.create_task(worker.receive(order_of(separating()), deliveries=1))
    await hands.started.wait()
    worker.stop("another")
    await asyncio.sleep(0)
    assert hands.cancelled == 0
    worker.stop(JOB)
    assert await asyncio.wait_for(running, 5) == ()
    assert hands.cancelled == 1


async def test_a_stop_order_does_not_end_the_sweep_that_it_brought() -> None:
    """A second cancel says both again, and the sweep is not stored twice."""
    hands = Hands(None)
    hands.free.clear()
    worker = worker_of(hands, cancelled())
    running = asyncio.create_task(worker.receive(SWEEP, deliveries=1))
    await hands.started.wait()
    worker.stop(JOB)
    await asyncio.sleep(0)
    hands.free.set()
    await asyncio.wait_for(running, 5)
    assert hands.cancelled == 0


async def test_work_that_is_not_wanted_any_more_stops_although_the_order_got_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "WANTED_SECONDS", 0.01)
    hands, store = Hands(downloaded()), MemoryStore(downloading())
    hands.free.clear()
    worker = Worker(worker_id="w1", performer=hands, jobs=store, tick=Ear())
    running = asyncio.create_task(worker.receive(order_of(downloading()), deliveries=1))
    await hands.started.wait()
    store.put(live(downloading(), CancelJob(job_id=JOB)))
    assert await asyncio.wait_for(running, 5) == ()
    assert hands.cancelled == 1


async def test_a_broker_that_is_away_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "WANTED_SECONDS", 0.01)
    hands, store, asked = Hands(downloaded()), MemoryStore(downloading()), asyncio.Event()
    hands.free.clear()
    worker = Worker(worker_id="w1", performer=hands, jobs=store, tick=Ear())
    running = asyncio.create_task(worker.receive(order_of(downloading()), deliveries=1))
    await hands.started.wait()

    async def away(_: str) -> Job | None:
        asked.set()
        raise ConnectionError

    monkeypatch.setattr(store, "get", away)
    await asyncio.wait_for(asked.wait(), 5)
    hands.free.set()
    assert len(await asyncio.wait_for(running, 5)) == 1


async def test_a_service_that_stops_cancels_the_work_and_passes_it_on() -> None:
    hands = Hands(downloaded())
    hands.free.clear()
    worker = worker_of(hands, downloading())
    running = asyncio.create_task(worker.receive(order_of(downloading()), deliveries=1))
    await hands.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert hands.cancelled == 1


async def test_ticks_come_no_closer_than_they_should_and_the_newest_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "TICK_SECONDS", 0.05)
    hands, ear = Hands(downloaded()), Ear()
    hands.free.clear()
    worker = worker_of(hands, downloading(), ear)
    running = asyncio.create_task(worker.receive(order_of(downloading()), deliveries=1))
    await hands.started.wait()
    assert hands.report is not None
    hands.report(Activity.FETCHING, 0.0)
    await ear.heard.wait()
    ear.heard.clear()
    for step in range(1, 50):
        hands.report(Activity.FETCHING, step / 100, f"{step} of 100")
    await asyncio.wait_for(ear.heard.wait(), 5)
    assert [
        Tick(
            job_id=JOB,
            stage=Stage.DOWNLOAD,
            unit=UNIT_SOURCE,
            attempt=1,
            activity=Activity.FETCHING,
            fraction=fraction,
            note=note,
        )
        for fraction, note in ((0.0, ""), (0.49, "49 of 100"))
    ] == ear.ticks
    hands.free.set()
    await running


async def test_nothing_is_told_after_the_fact() -> None:
    hands, ear = Hands(downloaded()), Ear()
    worker = worker_of(hands, downloading(), ear)
    await worker.receive(order_of(downloading()), deliveries=1)
    assert hands.report is not None
    hands.report(Activity.FETCHING, 1.0)
    await asyncio.sleep(0.01)
    assert ear.ticks == []


async def test_a_tick_that_can_t_be_sent_is_lost_without_a_sound() -> None:
    sounds: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: sounds.append(context))
    hands, ear = Hands(downloaded()), Ear()
    ear.fail = ConnectionError("away")
    hands.free.clear()
    worker = worker_of(hands, downloading(), ear)
    running = asyncio.create_task(worker.receive(order_of(downloading()), deliveries=1))
    await hands.started.wait()
    assert hands.report is not None
    for _ in range(3):
        ear.heard.clear()
        hands.report(Activity.FETCHING, 0.5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    hands.free.set()
    assert len(await running) == 1
    del running, worker, hands
    await asyncio.sleep(0)
    assert sounds == []


async def test_a_heart_beats_at_once_and_says_when_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beat_module, "BEAT_SECONDS", 0.01)
    beats: list[Beat] = []
    stopping, enough = asyncio.Event(), asyncio.Event()

    async def send(beat: Beat) -> None:
        beats.append(beat)
        if len(beats) == 2:
            raise ConnectionError
        if len(beats) >= 4:
            enough.set()

    beat = Beat(worker="w1", stage=Stage.DOWNLOAD, slots=2, busy=1)
    heart = asyncio.create_task(Heart(lambda: beat, send).run(stopping))
    await asyncio.wait_for(enough.wait(), 5)
    stopping.set()
    await asyncio.wait_for(heart, 5)
    assert [beat] * (len(beats) - 1) + [replace(beat, leaving=True)] == beats


async def test_work_that_gives_up_without_being_called_off_has_failed() -> None:
    class GivesUp(Hands):
        async def perform(self, work: WorkBase, report: Report) -> Fact | None:
            del work, report
            raise asyncio.CancelledError

    worker = worker_of(GivesUp(), downloading())
    (fact,) = await worker.receive(order_of(downloading()), deliveries=1)
    assert isinstance(fact, Failed)
    assert (fact.problem.code, fact.problem.retryable) == (Code.WORKER_CRASHED, True)
