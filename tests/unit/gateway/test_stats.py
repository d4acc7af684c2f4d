"""The statistics: counted along indexes, checked against plain counting."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from services.gateway.places import Places
from services.gateway.stats import FRESH_SECONDS, Spread, Stats, spread
from services.gateway.workers import Workers
from shared.contracts.job import Job, Status
from shared.contracts.live import Beat, Pause, Queue
from shared.contracts.problem import Problem
from shared.contracts.work import Stage
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Clock, Model


class House:
    """A read model and who counts it."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self.model = model
        self.places = Places(now=lambda: NOW, steady=clock)
        self.workers = Workers(clock)
        self.stats = Stats(
            tallies=model.tallies,
            projection=model.projection,
            places=self.places,
            workers=self.workers,
            now=lambda: NOW,
            steady=clock,
        )
        self._revision = 0

    def store(self, job: Job) -> None:
        self._revision += 1
        self.model.projection.store(self._revision, replace(job, id=f"j{self._revision}"))

    async def shown(self) -> dict[str, Any]:
        answer = await self.stats.show(None)  # type: ignore[arg-type] # it asks nothing of it
        shown: dict[str, Any] = json.loads(answer.body)  # type: ignore[arg-type] # it is bytes
        return shown


@pytest.fixture
def house(model: Model, clock: Clock) -> House:
    return House(model, clock)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def ended(status: Status, when: datetime, *, waited: float = 10.0, ran: float = 60.0) -> Job:
    begun = when - timedelta(seconds=ran)
    queued = begun - timedelta(seconds=waited)
    return replace(
        jobs.OF_STATUS[status](),
        created_at=queued,
        queued_at=queued,
        started_at=begun,
        resumed_at=begun,
        finished_at=when,
    )


async def test_of_nothing_there_is_nothing(house: House) -> None:
    nothing = {"p50": None, "p90": None, "p99": None, "n": 0}
    lately = {"submitted": 0, "completed": 0, "failed": 0, "cancelled": 0}
    assert await house.shown() == {
        "jobs": dict.fromkeys([*(status.value for status in Status), "held"], 0),
        "queue": {
            "waiting": 0,
            "held": 0,
            "rate_per_minute": None,
            "stalled": None,
            "oldest_wait_seconds": None,
        },
        "last_hour": lately,
        "last_day": lately,
        "failures": {},
        "wait_seconds": nothing,
        "run_seconds": nothing,
        "workers": [],
        "pauses": [],
        "revision": 0,
    }


async def test_jobs_are_counted_by_status_and_time(house: House) -> None:
    waiting = replace(jobs.pending(), created_at=ago(hours=30), queued_at=ago(minutes=5))
    house.store(waiting)
    house.store(replace(waiting, queued_at=ago(minutes=50), held_at=NOW))
    house.store(replace(jobs.scheduled(), created_at=ago(minutes=2)))
    house.store(replace(jobs.separating(), created_at=ago(hours=3)))
    house.store(ended(Status.COMPLETED, ago(minutes=59)))
    house.store(ended(Status.COMPLETED, ago(minutes=61)))
    house.store(ended(Status.COMPLETED, ago(hours=25)))
    house.store(ended(Status.CANCELLED, ago(minutes=1)))
    for code in (Code.SOURCE_NOT_FOUND, Code.WORKER_CRASHED, Code.WORKER_CRASHED):
        failed = ended(Status.FAILED, ago(hours=2))
        house.store(replace(failed, error=Problem.of(TerminalError(code))))
    house.store(ended(Status.FAILED, ago(hours=25)))
    shown = await house.shown()
    assert shown["jobs"] == {
        "scheduled": 1,
        "pending": 2,
        "processing": 1,
        "completed": 3,
        "failed": 4,
        "cancelled": 1,
        "held": 1,
    }
    assert (shown["queue"]["waiting"], shown["queue"]["held"]) == (1, 1)
    assert shown["queue"]["oldest_wait_seconds"] == 300.0
    assert shown["last_hour"] == {"submitted": 2, "completed": 1, "failed": 0, "cancelled": 1}
    assert shown["last_day"] == {"submitted": 8, "completed": 2, "failed": 3, "cancelled": 1}
    assert list(shown["failures"].items()) == [("worker.crashed", 2), ("source.not_found", 1)]
    assert (shown["run_seconds"]["n"], shown["revision"]) == (6, 12)


async def test_durations_are_of_the_last_run_and_of_those_that_had_one(house: House) -> None:
    house.store(ended(Status.COMPLETED, ago(minutes=1), waited=3.0, ran=40.0))
    retried = ended(Status.FAILED, ago(minutes=1), waited=5.0, ran=20.0)
    house.store(replace(retried, started_at=ago(hours=9)))
    called_off = replace(jobs.pending(), status=Status.CANCELLED, finished_at=ago(minutes=1))
    house.store(called_off)
    running = replace(jobs.separating(), started_at=ago(minutes=1), resumed_at=ago(minutes=1))
    house.store(running)
    shown = await house.shown()
    assert shown["wait_seconds"] == {"p50": 3.0, "p90": 5.0, "p99": 5.0, "n": 2}
    assert shown["run_seconds"] == {"p50": 20.0, "p90": 40.0, "p99": 40.0, "n": 2}


def test_only_the_newest_durations_are_looked_at(model: Model) -> None:
    for number in range(9):
        status = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)[number % 3]
        job = ended(status, ago(minutes=number), ran=float(number + 1))
        model.projection.store(number + 1, replace(job, id=f"j{number}"))
    newest = model.tallies.durations(ago(days=1), 4)
    assert [run for _, run in newest] == [1.0, 2.0, 3.0, 4.0]
    assert len(model.tallies.durations(ago(minutes=4.5), 99)) == 5


async def test_what_is_told_is_shown(house: House, clock: Clock) -> None:
    pause = Pause(site="Youtube", until=NOW, code=Code.SOURCE_RATE_LIMITED)
    house.places.heard(
        Queue(at=NOW, waiting=7, rate=0.05, stalled=Code.STORAGE_LOW, pauses=(pause,))
    )
    house.workers.heard(Beat(worker="d1", stage=Stage.DOWNLOAD, slots=2, busy=1))
    shown = await house.shown()
    assert shown["queue"]["waiting"] == 7
    assert (shown["queue"]["rate_per_minute"], shown["queue"]["stalled"]) == (3.0, "storage.low")
    assert shown["pauses"] == [
        {"site": "Youtube", "until": "2026-05-04T03:02:01Z", "code": "source.rate_limited"}
    ]
    assert shown["workers"] == [
        {
            "worker": "d1",
            "stage": "download",
            "slots": 2,
            "busy": 1,
            "device": "cpu",
            "speeds": {},
            "ailment": None,
            "seen_seconds_ago": 0.0,
        }
    ]
    clock.now = 60.0
    shown = await house.shown()
    assert (shown["queue"]["waiting"], shown["pauses"], shown["workers"]) == (0, [], [])


async def test_it_is_counted_once_a_second_at_most_however_many_ask(
    house: House, clock: Clock
) -> None:
    counted = 0
    count = house.stats.count

    async def counting() -> Any:  # noqa: ANN401 - what it counts
        nonlocal counted
        counted += 1
        return await count()

    house.stats.count = counting  # type: ignore[method-assign] # to see how often
    await asyncio.gather(*(house.shown() for _ in range(5)))
    house.store(jobs.pending())
    assert ((await house.shown())["jobs"]["pending"], counted) == (0, 1)
    clock.now = FRESH_SECONDS
    assert ((await house.shown())["jobs"]["pending"], counted) == (1, 2)


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([None, None], (None, None, None, 0)),
        ([5.0], (5.0, 5.0, 5.0, 1)),
        ([2.0, None, 1.0], (1.0, 2.0, 2.0, 2)),
        ([float(number) for number in range(100, 0, -1)], (50.0, 90.0, 99.0, 100)),
        ([float(number) for number in range(1, 1001)], (500.0, 900.0, 990.0, 1000)),
    ],
)
def test_percentiles_are_durations_that_there_were(
    durations: list[float | None], expected: tuple[float | None, float, float, int]
) -> None:
    p50, p90, p99, n = expected
    assert Spread(p50=p50, p90=p90, p99=p99, n=n) == spread(durations)
