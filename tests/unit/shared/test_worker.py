"""A worker: wanted work becomes one fact, unwanted work becomes nothing."""

from __future__ import annotations

import asyncio
import errno
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from shared.actor import beat as beat_module
from shared.actor import worker as worker_module
from shared.actor.beat import Heart
from shared.actor.worker import MAX_DELIVERIES, Worker
from shared.contracts.audio import Metadata, Track
from shared.contracts.batch import Batch, BatchStatus
from shared.contracts.codec import UndecodableError
from shared.contracts.facts import Downloaded, Expanded, Failed
from shared.contracts.job import Job, Status
from shared.contracts.live import Activity, Beat, Tick
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source, Terms
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import (
    UNIT_PLAYLIST,
    UNIT_SOURCE,
    DownloadWork,
    ExpandWork,
    RemoveWork,
    Stage,
    SweepWork,
    WorkBase,
)
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from shared.actor.worker import Report
    from shared.contracts.facts import Fact

NOW = datetime(2026, 5, 4, tzinfo=UTC)
JOB = "j1"
WORK = DownloadWork(job_id=JOB, source=Source(url="https://example.org/a"))
EXPAND = ExpandWork(job_id="b1", playlist="https://example.org/list", limit=5)
SWEEP = SweepWork(job_id=JOB, attempt=1)
REMOVE = RemoveWork(job_id=JOB, before=NOW, track="t1")
DOWNLOADED = Downloaded(
    job_id=JOB,
    stage=Stage.DOWNLOAD,
    unit=UNIT_SOURCE,
    attempt=1,
    track=Track(id="t1", frames=1, mean=0.0, std=0.0),
    metadata=Metadata(),
)
EXPANDED = Expanded(job_id="b1", stage=Stage.DOWNLOAD, unit=UNIT_PLAYLIST, attempt=1, entries=())


def job(status: Status, unit: Unit | None = None, **more: Any) -> Job:  # noqa: ANN401 - fields of a job
    return Job(
        id=JOB,
        source=WORK.source,
        options=Options(),
        status=status,
        created_at=NOW,
        updated_at=NOW,
        units={UNIT_SOURCE: unit} if unit else {},
        **more,
    )


def ordered(attempt: int = 1) -> Job:
    return job(Status.PROCESSING, Unit(UnitState.ORDERED, attempt))


def batch(status: BatchStatus, unit: Unit | None) -> Batch:
    return Batch(
        id="b1",
        status=status,
        options=Options(),
        terms=Terms(),
        created_at=NOW,
        updated_at=NOW,
        playlist=EXPAND.playlist,
        unit=unit,
    )


PENDING = job(Status.PENDING)
CANCELLED = job(Status.CANCELLED, Unit(UnitState.ORDERED, 1))
COMPLETED = job(Status.COMPLETED, Unit(UnitState.DONE, 1))
DONE_ALREADY = job(Status.PROCESSING, Unit(UnitState.DONE, 1))
EXPANDING = batch(BatchStatus.EXPANDING, Unit(UnitState.ORDERED, 1))


class Book:
    """The record that work is ordered for, as a test writes it."""

    def __init__(self, record: Job | Batch | None) -> None:
        self.record = record
        self.asked: list[WorkBase] = []
        self.read = asyncio.Event()
        self.failing: Exception | None = None

    async def ordering(self, work: WorkBase) -> Job | Batch | None:
        self.asked.append(work)
        self.read.set()
        if self.failing:
            raise self.failing
        return self.record


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


def worker_of(
    hands: Hands, record: Job | Batch | Book | None, ear: Ear | None = None
) -> Worker[WorkBase]:
    book = record if isinstance(record, Book) else Book(record)
    return Worker(worker_id="w1", performer=hands, records=book, tick=ear or Ear())


async def test_wanted_work_becomes_a_fact_that_says_who_and_how_long() -> None:
    hands = Hands(DOWNLOADED)
    worker = worker_of(hands, ordered())
    (fact,) = await worker.receive(WORK, deliveries=1)
    assert fact == replace(DOWNLOADED, worker="w1", elapsed=fact.elapsed)
    assert fact.elapsed > 0
    assert hands.performed == [WORK]


async def test_a_time_that_the_performer_measured_is_kept() -> None:
    hands = Hands(replace(DOWNLOADED, elapsed=7.0))
    (fact,) = await worker_of(hands, ordered()).receive(WORK, deliveries=1)
    assert fact.elapsed == 7.0


@pytest.mark.parametrize(
    "job",
    [
        CANCELLED,
        job(Status.FAILED, Unit(UnitState.DONE, 1)),
        COMPLETED,
        DONE_ALREADY,
    ],
    ids=["cancelled", "failed", "completed", "done already"],
)
async def test_work_that_nobody_wants_is_dropped(job: Job | None) -> None:
    hands = Hands(DOWNLOADED)
    assert await worker_of(hands, job).receive(WORK, deliveries=1) == ()
    assert hands.performed == []


async def test_work_of_an_older_attempt_is_dropped() -> None:
    hands = Hands(DOWNLOADED)
    work = replace(WORK, attempt=0)
    assert await worker_of(hands, ordered()).receive(work, deliveries=1) == ()
    assert hands.performed == []


@pytest.mark.parametrize(
    ("job", "attempt"),
    [(None, 1), (PENDING, 1), (ordered(), 2), (ordered(), 9)],
    ids=["no record", "not started", "one behind", "far behind"],
)
async def test_a_record_that_is_older_than_the_order_is_read_again(
    job: Job | None, attempt: int
) -> None:
    hands = Hands(DOWNLOADED)
    work = replace(WORK, attempt=attempt)
    with pytest.raises(ConnectionError, match="no word yet"):
        await worker_of(hands, job).receive(work, deliveries=1)
    assert hands.performed == []


@pytest.mark.parametrize("work", [SWEEP, REMOVE], ids=["sweep", "remove"])
@pytest.mark.parametrize("record", [None, CANCELLED, COMPLETED], ids=["gone", "cancelled", "done"])
async def test_unasked_work_is_always_wanted_and_no_fact_follows(
    work: WorkBase, record: Job | None
) -> None:
    hands = Hands(None)
    assert await worker_of(hands, record).receive(work, deliveries=1) == ()
    assert hands.performed == [work]


@pytest.mark.parametrize("work", [SWEEP, REMOVE], ids=["sweep", "remove"])
async def test_unasked_work_that_fails_comes_again_but_not_for_ever(work: WorkBase) -> None:
    hands = Hands(RetryableError(Code.STORAGE_UNAVAILABLE), TerminalError(Code.INTERNAL))
    worker = worker_of(hands, None)
    with pytest.raises(RetryableError):
        await worker.receive(work, deliveries=1)
    assert await worker.receive(work, deliveries=2) == ()
    assert await worker.receive(work, deliveries=MAX_DELIVERIES + 1) == ()
    assert hands.performed == [work, work]


async def test_a_playlist_is_read_for_a_batch() -> None:
    hands = Hands(EXPANDED)
    (fact,) = await worker_of(hands, EXPANDING).receive(EXPAND, deliveries=1)
    assert fact == replace(EXPANDED, worker="w1", elapsed=fact.elapsed)
    assert hands.performed == [EXPAND]


@pytest.mark.parametrize(
    "record",
    [
        batch(BatchStatus.CANCELLED, Unit(UnitState.ORDERED, 1)),
        batch(BatchStatus.EXPANDED, Unit(UnitState.DONE, 1)),
        batch(BatchStatus.EXPANDING, Unit(UnitState.ORDERED, 2)),
        batch(BatchStatus.EXPANDING, Unit(UnitState.WAITING, 1)),
    ],
    ids=["cancelled", "done", "ordered anew", "waiting"],
)
async def test_a_playlist_that_nobody_waits_for_is_not_read(record: Batch) -> None:
    hands = Hands(EXPANDED)
    assert await worker_of(hands, record).receive(EXPAND, deliveries=1) == ()
    assert hands.performed == []


@pytest.mark.parametrize("record", [None, batch(BatchStatus.EXPANDING, None)])
async def test_a_batch_s_record_that_is_older_than_the_order_is_read_again(
    record: Batch | None,
) -> None:
    with pytest.raises(ConnectionError, match="no word yet"):
        await worker_of(Hands(EXPANDED), record).receive(EXPAND, deliveries=1)


@pytest.mark.parametrize(
    "error",
    [
        TerminalError(Code.SOURCE_NOT_FOUND, "gone"),
        RetryableError(Code.SOURCE_RATE_LIMITED, "slow", retry_after=30.0),
    ],
)
async def test_a_failure_becomes_a_fact(error: TerminalError | RetryableError) -> None:
    worker = worker_of(Hands(error), ordered())
    (fact,) = await worker.receive(WORK, deliveries=1)
    assert isinstance(fact, Failed)
    assert (JOB, Stage.DOWNLOAD, UNIT_SOURCE, 1, "w1", Problem.of(error)) == (
        fact.job_id,
        fact.stage,
        fact.unit,
        fact.attempt,
        fact.worker,
        fact.problem,
    )


@pytest.mark.parametrize("site", [None, "Youtube"])
async def test_a_failure_says_which_site_it_was(site: str | None) -> None:
    error = RetryableError(Code.SOURCE_RATE_LIMITED)
    error.site = site
    (fact,) = await worker_of(Hands(error), ordered()).receive(WORK, deliveries=1)
    assert isinstance(fact, Failed)
    assert fact.site == site


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.STORAGE_FULL),
        (errno.EDQUOT, Code.STORAGE_FULL),
        (errno.EMFILE, Code.WORKER_CRASHED),
    ],
)
async def test_what_the_system_refuses_becomes_a_fact(number: int, code: Code) -> None:
    worker = worker_of(Hands(OSError(number, "refused")), ordered())
    (fact,) = await worker.receive(WORK, deliveries=1)
    assert isinstance(fact, Failed)
    assert (code, True) == (fact.problem.code, fact.problem.retryable)


async def test_a_bug_is_the_host_s_to_handle() -> None:
    worker = worker_of(Hands(KeyError("bug")), ordered())
    with pytest.raises(KeyError):
        await worker.receive(WORK, deliveries=1)


@pytest.mark.parametrize(
    ("deliveries", "poison"),
    [(1, False), (MAX_DELIVERIES, False), (MAX_DELIVERIES + 1, True), (999, True)],
)
async def test_work_that_was_handed_out_too_often_is_refused(
    deliveries: int, *, poison: bool
) -> None:
    hands = Hands(DOWNLOADED)
    worker = worker_of(hands, ordered())
    (fact,) = await worker.receive(WORK, deliveries=deliveries)
    assert poison == isinstance(fact, Failed)
    assert poison == (not hands.performed)
    if isinstance(fact, Failed):
        assert (fact.problem.code, fact.problem.retryable) == (Code.WORKER_POISON, False)


@pytest.mark.parametrize(
    ("work", "record", "after"),
    [
        (WORK, ordered(), CANCELLED),
        (WORK, ordered(), ordered(2)),
        (EXPAND, EXPANDING, batch(BatchStatus.CANCELLED, EXPANDING.unit)),
    ],
    ids=["job cancelled", "ordered anew", "batch cancelled"],
)
async def test_stopping_ends_unwanted_work_without_a_fact_and_no_other_s(
    work: WorkBase, record: Job | Batch, after: Job | Batch
) -> None:
    hands, book = Hands(DOWNLOADED), Book(record)
    hands.free.clear()
    worker = worker_of(hands, book)
    running = asyncio.create_task(worker.receive(work, deliveries=1))
    await hands.started.wait()
    book.record = after
    worker.stop("another")
    await asyncio.sleep(0)
    assert hands.cancelled == 0
    worker.stop(work.job_id)
    # Well before the watch would look.
    assert await asyncio.wait_for(running, 2) == ()
    assert hands.cancelled == 1


async def test_a_stop_that_comes_late_does_not_end_work_that_was_ordered_again() -> None:
    hands, book = Hands(replace(DOWNLOADED, attempt=2)), Book(ordered(2))
    hands.free.clear()
    worker = worker_of(hands, book)
    running = asyncio.create_task(worker.receive(replace(WORK, attempt=2), deliveries=1))
    await hands.started.wait()
    book.read.clear()
    worker.stop(JOB)
    await asyncio.wait_for(book.read.wait(), 5)
    await asyncio.sleep(0)
    hands.free.set()
    (fact,) = await asyncio.wait_for(running, 5)
    assert (fact.attempt, hands.cancelled) == (2, 0)


@pytest.mark.parametrize("failing", [ConnectionError("away"), UndecodableError("of tomorrow")])
async def test_a_stop_whose_record_can_t_be_read_is_left_to_the_watch(
    monkeypatch: pytest.MonkeyPatch, failing: Exception
) -> None:
    monkeypatch.setattr(worker_module, "WANTED_SECONDS", 0.05)
    sounds: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: sounds.append(context))
    hands, book = Hands(DOWNLOADED), Book(ordered())
    hands.free.clear()
    worker = worker_of(hands, book)
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
    await hands.started.wait()
    book.record, book.failing = CANCELLED, failing
    book.read.clear()
    worker.stop(JOB)
    await asyncio.wait_for(book.read.wait(), 5)
    # The watch meets the same, and looks again.
    book.read.clear()
    await asyncio.wait_for(book.read.wait(), 5)
    assert not running.done()
    book.failing = None
    assert await asyncio.wait_for(running, 5) == ()
    assert (hands.cancelled, sounds) == (1, [])


async def test_a_stop_order_does_not_end_the_sweep_that_it_brought() -> None:
    """A second cancel says both again, and the sweep is not stored twice."""
    hands = Hands(None)
    hands.free.clear()
    worker = worker_of(hands, CANCELLED)
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
    hands, book = Hands(DOWNLOADED), Book(ordered())
    hands.free.clear()
    worker = worker_of(hands, book)
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
    await hands.started.wait()
    book.record = CANCELLED
    assert await asyncio.wait_for(running, 5) == ()
    assert hands.cancelled == 1


async def test_a_broker_that_is_away_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "WANTED_SECONDS", 0.01)
    hands, book = Hands(DOWNLOADED), Book(ordered())
    hands.free.clear()
    worker = worker_of(hands, book)
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
    await hands.started.wait()
    book.failing = ConnectionError("away")
    book.read.clear()
    await asyncio.wait_for(book.read.wait(), 5)
    hands.free.set()
    assert len(await asyncio.wait_for(running, 5)) == 1


async def test_a_service_that_stops_cancels_the_work_and_passes_it_on() -> None:
    hands = Hands(DOWNLOADED)
    hands.free.clear()
    worker = worker_of(hands, ordered())
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
    await hands.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert hands.cancelled == 1


async def test_ticks_come_no_closer_than_they_should_and_the_newest_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "TICK_SECONDS", 0.05)
    hands, ear = Hands(DOWNLOADED), Ear()
    hands.free.clear()
    worker = worker_of(hands, ordered(), ear)
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
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
    hands, ear = Hands(DOWNLOADED), Ear()
    worker = worker_of(hands, ordered(), ear)
    await worker.receive(WORK, deliveries=1)
    assert hands.report is not None
    hands.report(Activity.FETCHING, 1.0)
    await asyncio.sleep(0.01)
    assert ear.ticks == []


async def test_a_tick_that_can_t_be_sent_is_lost_without_a_sound() -> None:
    sounds: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: sounds.append(context))
    hands, ear = Hands(DOWNLOADED), Ear()
    ear.fail = ConnectionError("away")
    hands.free.clear()
    worker = worker_of(hands, ordered(), ear)
    running = asyncio.create_task(worker.receive(WORK, deliveries=1))
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

    worker = worker_of(GivesUp(), ordered())
    (fact,) = await worker.receive(WORK, deliveries=1)
    assert isinstance(fact, Failed)
    assert (fact.problem.code, fact.problem.retryable) == (Code.WORKER_CRASHED, True)
