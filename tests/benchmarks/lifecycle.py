"""Whole lives of jobs: through workers that answer at once, and through the real ones.

The first is the control plane alone: the real broker, scheduler and gateway, and a worker over
the real bus that answers every order with the fact it would have.  The second is all of
``stembus up`` with clips of a second and the model that needs no weights.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tests.benchmarks.audience import Audience
from tests.benchmarks.hands import CHUNKS
from tests.benchmarks.plane import GATEWAY, HANDS, SCHEDULER, new_session, running_plane
from tests.benchmarks.processes import cpu_seconds, family_of
from tests.benchmarks.timing import at_once, in_turn, median, percentile
from tests.support.media import song, write_audio
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from tests.benchmarks.plane import Plane
    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale

#: Jobs under way at once: as many as the scheduler lets be processed by default.
IN_FLIGHT: Final = 16
#: Lives before anything is measured: imports, connections, first heartbeats.
WARM_UP: Final = 8
SONG_SECONDS: Final = 1.0
SONGS_IN_FLIGHT: Final = 4


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """Both."""
    await _control_plane(folder / "plane", scale, report)
    await _whole_stack(folder / "stack", scale, report)


async def _control_plane(folder: Path, scale: Scale, report: Report) -> None:
    async with (
        running_plane(folder, SCHEDULER, GATEWAY, HANDS) as plane,
        new_session() as session,
    ):
        audience = Audience(session, plane.url)
        async with audience.watching():
            await at_once(audience.life, count=WARM_UP, width=WARM_UP)
            before = _cpu(plane)
            seconds = await at_once(audience.life, count=scale.lives, width=IN_FLIGHT)
            used = {name: 1000 * (cpu - before[name]) for name, cpu in _cpu(plane).items()}
            alone = await in_turn(audience.life, scale.lives_alone)
    each = {name: cpu / scale.lives for name, cpu in used.items()}
    what = f"CPU for a life of {CHUNKS} chunks"
    report.add(f"{what}, scheduler", each.pop(SCHEDULER), "ms", wanted="≤ 15")
    for name, cpu in each.items():
        report.add(f"{what}, {name.rpartition('.')[2]}", cpu, "ms")
    report.add(
        f"lives with workers that answer at once, {IN_FLIGHT} under way",
        scale.lives / seconds,
        "jobs/s",
    )
    what = "one such life alone, submit → completed seen"
    report.add(f"{what}, p50", median(alone), "ms")
    report.add(f"{what}, p99", percentile(alone, 99), "ms")


async def _whole_stack(folder: Path, scale: Scale, report: Report) -> None:
    clips = _clips(folder / "clips", scale.songs + 1)
    times: list[float] = []
    with running_stack(folder / "data") as stack:
        async with new_session() as session:
            audience = Audience(session, stack.url)
            left = iter(clips)

            async def life() -> None:
                started = perf_counter()
                upload = await _upload(session, stack.url, next(left))
                job = await audience.submit({"upload": upload}, options={"model": "dsp"})
                end = await audience.ended(job)
                assert end == "completed", end
                times.append(perf_counter() - started)

            async with audience.watching():
                await life()  # loads the model
                times.clear()
                before = cpu_seconds(family_of([stack.process.pid]))
                seconds = await at_once(life, count=scale.songs, width=SONGS_IN_FLIGHT)
                after = cpu_seconds(family_of([stack.process.pid]))
    what = f"songs of {SONG_SECONDS:g} s through all four services, {SONGS_IN_FLIGHT} under way"
    report.add(what, scale.songs / seconds, "jobs/s")
    report.add("one of them, upload → completed seen, p50", median(times), "s")
    report.add("CPU of all processes that live on, for each", (after - before) / scale.songs, "s")


def _cpu(plane: Plane) -> dict[str, float]:
    """Seconds that each process has used."""
    return {name: cpu_seconds([pid]) for name, pid in plane.pids().items()}


def _clips(folder: Path, count: int) -> list[bytes]:
    """Short songs, each another one: none is known from before."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(1)
    clips = []
    for number in range(count):
        samples = song(SONG_SECONDS, level=0.1 + 0.5 * chance.random())
        clips.append(write_audio(folder / f"{number}.wav", samples).read_bytes())
    return clips


async def _upload(session: aiohttp.ClientSession, url: str, clip: bytes) -> str:
    async with session.post(f"{url}/v1/uploads?filename=clip.wav", data=clip) as answer:
        return str((await answer.json())["upload"])
