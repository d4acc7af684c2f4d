"""``GET /v1/stats``: how much there is to do, how it goes, and who does it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web
from msgspec import Struct

from services.gateway import bodies
from services.gateway.schema import micros
from services.gateway.tallies import ENDED
from services.gateway.workers import Worker
from shared.contracts.job import Status
from shared.contracts.live import Pause
from shared.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from services.gateway.places import Places
    from services.gateway.projection import Projection
    from services.gateway.tallies import Tallies
    from services.gateway.workers import Workers

T = TypeVar("T")

#: Seconds for which an answer is given again.
FRESH_SECONDS: Final = 1.0
#: The newest jobs whose durations are looked at.
LOOKED_AT: Final = 10_000
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


class Line(Struct, frozen=True, kw_only=True):
    """How the queue goes; nulls where the scheduler has not told, lately."""

    #: Jobs that wait for their turn, those held left out.
    waiting: int
    held: int
    rate_per_minute: float | None
    stalled: Code | None
    oldest_wait_seconds: float | None


class Spread(Struct, frozen=True, kw_only=True):
    """Percentiles of ``n`` durations in seconds; nulls of none."""

    p50: float | None
    p90: float | None
    p99: float | None
    n: int


class Statistics(Struct, frozen=True, kw_only=True):
    """The body of ``GET /v1/stats``."""

    #: By status; ``held`` are those of the scheduled and pending that clients keep from starting.
    jobs: dict[str, int]
    queue: Line
    last_hour: dict[str, int]
    last_day: dict[str, int]
    #: What the last day's jobs have failed of.
    failures: dict[str, int]
    #: Of the last day's newest jobs: from being queued to being started, and from there to the end.
    wait_seconds: Spread
    run_seconds: Spread
    workers: list[Worker]
    pauses: tuple[Pause, ...]
    revision: int


class Stats:
    """Its handler."""

    def __init__(
        self,
        *,
        tallies: Tallies,
        projection: Projection,
        places: Places,
        workers: Workers,
        now: Callable[[], datetime],
        steady: Callable[[], float],
    ) -> None:
        self._tallies = tallies
        self._projection = projection
        self._places = places
        self._workers = workers
        self._now = now
        self._steady = steady
        self._counting = asyncio.Lock()
        self._counted: Statistics | None = None
        self._at = float("-inf")

    def routes(self) -> list[web.RouteDef]:
        """Its address."""
        return [web.get("/v1/stats", self.show)]

    async def show(self, _: web.Request) -> web.Response:
        """Count, unless that was done just now."""
        async with self._counting:
            if self._counted is None or self._steady() >= self._at + FRESH_SECONDS:
                self._counted = await self.count()
                self._at = self._steady()
            return bodies.answer(200, self._counted)

    async def count(self) -> Statistics:
        """The numbers as they are now; the loop turns between any two of them."""
        now, revision = self._now(), self._projection.revision
        counts = await _pausing(self._tallies.by_status)
        hour = await self._lately(now - _HOUR)
        day = await self._lately(now - _DAY)
        failures = await _pausing(lambda: self._tallies.failures(now - _DAY))
        durations = await _pausing(lambda: self._tallies.durations(now - _DAY, LOOKED_AT))
        waits = await _pausing(lambda: spread(wait for wait, _ in durations))
        runs = await _pausing(lambda: spread(run for _, run in durations))
        queue, held = self._places.newest, self._tallies.held()
        return Statistics(
            jobs={status.value: counts.get(status, 0) for status in Status} | {"held": held},
            queue=Line(
                waiting=queue.waiting if queue else self._tallies.waiting(),
                held=held,
                rate_per_minute=round(queue.rate * 60, 3) if queue and queue.rate else None,
                stalled=queue.stalled if queue else None,
                oldest_wait_seconds=self._oldest_wait(now),
            ),
            last_hour=hour,
            last_day=day,
            failures=failures,
            wait_seconds=waits,
            run_seconds=runs,
            workers=self._workers.there(),
            pauses=queue.pauses if queue else (),
            revision=revision,
        )

    async def _lately(self, since: datetime) -> dict[str, int]:
        submitted = await _pausing(lambda: self._tallies.submitted(since))
        ended = await _pausing(lambda: self._tallies.ended(since))
        return {"submitted": submitted} | {status.value: ended[status] for status in ENDED}

    def _oldest_wait(self, now: datetime) -> float | None:
        first = self._tallies.queued_first()
        return None if first is None else max(0.0, round((micros(now) - first) / 1e6, 1))


async def _pausing(counting: Callable[[], T]) -> T:
    counted = counting()
    await asyncio.sleep(0)
    return counted


def spread(durations: Iterable[float | None]) -> Spread:
    """Percentiles, each the smallest duration that so many percent do not exceed."""
    known = sorted(duration for duration in durations if duration is not None)
    return Spread(
        p50=_percentile(known, 50),
        p90=_percentile(known, 90),
        p99=_percentile(known, 99),
        n=len(known),
    )


def _percentile(durations: Sequence[float], percent: int) -> float | None:
    if not durations:
        return None
    rank = -(-len(durations) * percent // 100)
    return round(durations[rank - 1], 3)
