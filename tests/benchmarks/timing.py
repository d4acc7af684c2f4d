"""How times are taken: at a steady rate, or with so many at once; and what is said of them."""

from __future__ import annotations

import asyncio
import statistics
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that ``percent`` of a hundred values are not above."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def median(values: Sequence[float]) -> float:
    """The value in the middle."""
    return statistics.median(values)


async def offered(
    request: Callable[[], Awaitable[object]], *, count: int, a_second: float
) -> list[float]:
    """Milliseconds of each request, asked at a steady rate whatever the answers do.

    A request that could not even be sent in time counts from when it should have been: slow
    answers don't lower the rate that they are measured at (no coordinated omission).
    """
    times: list[float] = []

    async def one(due: float) -> None:
        await asyncio.sleep(due - monotonic())
        await request()
        times.append((monotonic() - due) * 1000)

    begin = monotonic() + 0.2
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(begin + number / a_second))
    return times


async def in_turn(request: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Milliseconds of each request, one after another."""
    times = []
    for _ in range(count):
        started = perf_counter()
        await request()
        times.append((perf_counter() - started) * 1000)
    return times


async def at_once(request: Callable[[], Awaitable[object]], *, count: int, width: int) -> float:
    """Seconds that ``count`` requests take, ``width`` of them under way at any time."""
    left = iter(range(count))

    async def lane() -> None:
        for _ in left:
            await request()

    started = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(lane())
    return perf_counter() - started
