"""What becomes of the services when there are many jobs: stored ones, and waiting ones."""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

import nats

from shared.contracts.codec import encode
from shared.contracts.subjects import subject_of
from tests.benchmarks import records
from tests.benchmarks.audience import Audience
from tests.benchmarks.lifecycle import IN_FLIGHT, WARM_UP
from tests.benchmarks.plane import GATEWAY, HANDS, SCHEDULER, Plane, new_session
from tests.benchmarks.processes import cpu_seconds, resident_bytes, until_idle
from tests.benchmarks.questions import ask_all
from tests.benchmarks.submit import SUBMITS_A_SECOND
from tests.benchmarks.timing import at_once, median, offered, percentile
from tests.support.jobs import submit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from shared.contracts.job import Job
    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale

#: Seconds that a start may take.
PATIENCE: Final = 300.0
#: The size that DESIGN §8 holds the lists to.
HELD_SIZE: Final = 100_000
_MIB: Final = 2**20


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """Each size in a bucket of its own."""
    for stored in scale.stored:
        await _stored(folder / str(stored), stored, scale, report)


async def measure_waiting(folder: Path, scale: Scale, report: Report) -> None:
    """Many jobs that wait: what a submission and a job's turn cost then."""
    of = f"{scale.waiting:,} waiting"
    async with _filled(folder, records.waiting(scale.waiting)) as plane, new_session() as session:
        await _start(plane, of, report)
        await plane.until_ready(session)
        audience = Audience(session, plane.url)
        await _submissions(audience, audience.submit, of, scale, report)
        async with audience.watching():
            await plane.start(HANDS)
            await audience.ends(WARM_UP)
            scheduler = [plane.pid(SCHEDULER)]
            cpu, began = cpu_seconds(scheduler), perf_counter()
            await audience.ends(scale.growth_lives)
            seconds, cpu = perf_counter() - began, cpu_seconds(scheduler) - cpu
    report.add("lives", scale.growth_lives / seconds, "jobs/s", of=of)
    report.add("scheduler's CPU for a life", 1000 * cpu / scale.growth_lives, "ms", of=of)


async def _stored(folder: Path, stored: int, scale: Scale, report: Report) -> None:
    of = f"{stored:,} stored"
    async with _filled(folder, records.finished(stored)) as plane, new_session() as session:
        await _start(plane, of, report)
        began = perf_counter()
        await until_idle(plane.pid(GATEWAY))
        report.add("gateway, first answer → index complete", perf_counter() - began, "s", of=of)
        audience = Audience(session, plane.url)
        wanted = "≤ 30" if stored == HELD_SIZE else ""
        await ask_all(
            session, plane.url, count=scale.questions, of=of, wanted=wanted, report=report
        )
        await _submissions(audience, audience.store, of, scale, report)
        async with audience.watching():
            await plane.start(HANDS)
            await at_once(audience.life, count=WARM_UP, width=WARM_UP)
            seconds = await at_once(audience.life, count=scale.growth_lives, width=IN_FLIGHT)
    report.add("lives", scale.growth_lives / seconds, "jobs/s", of=of)


@asynccontextmanager
async def _filled(folder: Path, jobs: Iterable[Job]) -> AsyncIterator[Plane]:
    """A broker with these jobs in its bucket, and nobody on it."""
    plane = Plane(folder)
    try:
        await plane.start_broker(synced=False)
        await records.write(plane.nats_url, jobs)
        await plane.stop_all()
        await plane.start_broker()
        yield plane
    finally:
        await plane.stop_all()


async def _start(plane: Plane, of: str, report: Report) -> None:
    """A scheduler and a gateway on what there is: how long until they are of use, how large."""
    report.add("scheduler, start → first answer", await _first_answer(plane), "s", of=of)
    report.add("scheduler's memory", resident_bytes(plane.pid(SCHEDULER)) / _MIB, "MiB", of=of)
    async with new_session() as session:
        began = perf_counter()
        await plane.start(GATEWAY)
        await plane.until_ready(session)
    report.add("gateway, start → first answer", perf_counter() - began, "s", of=of)
    report.add("gateway's memory", resident_bytes(plane.pid(GATEWAY)) / _MIB, "MiB", of=of)


async def _first_answer(plane: Plane) -> float:
    """Seconds from the scheduler's start until it answers a command that lay there already."""
    nc = await nats.connect(plane.nats_url)
    try:
        inbox = nc.new_inbox()
        answers = await nc.subscribe(inbox)
        command = submit("first", reply_to=inbox)
        await nc.jetstream().publish(subject_of(command), encode(command))
        began = perf_counter()
        await plane.start(SCHEDULER)
        await answers.next_msg(timeout=PATIENCE)
        return perf_counter() - began
    finally:
        await nc.close()


async def _submissions(
    audience: Audience,
    request: Callable[[], Awaitable[object]],
    of: str,
    scale: Scale,
    report: Report,
) -> None:
    await at_once(request, count=WARM_UP, width=WARM_UP)
    times = await offered(request, count=scale.growth_submits, a_second=SUBMITS_A_SECOND)
    report.add("submit over HTTP → 201, p50", median(times), "ms", of=of)
    report.add("submit over HTTP → 201, p99", percentile(times, 99), "ms", of=of)
    if audience.late:
        report.add("answered 202, stored but not decided in time", audience.late, "jobs", of=of)
