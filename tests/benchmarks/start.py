"""How long ``stembus up`` takes until it has accepted a job."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from tests.benchmarks.audience import Audience
from tests.benchmarks.plane import new_session
from tests.benchmarks.timing import median
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """From the command to the first 201, each time with a new data folder."""
    times = []
    async with new_session() as session:
        for number in range(scale.starts):
            started = perf_counter()
            with running_stack(folder / str(number)) as stack:
                await Audience(session, stack.url).store()
                times.append(perf_counter() - started)
    what = "stembus up → first job accepted"
    report.add(f"{what}, median", median(times), "s", wanted="≤ 5")
    report.add(f"{what}, slowest of {len(times)}", max(times), "s")
