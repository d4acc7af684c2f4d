"""``python -m tests.benchmarks [NAME,…] [--quick] [--out FOLDER]``; see the package."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from tests.benchmarks import growth, lifecycle, live, start, submit
from tests.benchmarks.alternatives import race
from tests.benchmarks.machine import this_machine
from tests.benchmarks.report import Report
from tests.benchmarks.scale import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.benchmarks.scale import Scale

    Benchmark = Callable[[Path, Scale, Report], Awaitable[None]]

#: In the order they run; what each measures, for people.
BENCHMARKS: Final[Mapping[str, tuple[str, Benchmark]]] = {
    "submit": ("submissions at a steady rate", submit.measure),
    "live": ("a worker's tick on its way to live clients", live.measure),
    "start": ("stembus up", start.measure),
    "lifecycle": ("jobs from submission to end", lifecycle.measure),
    "growth": ("many jobs that have ended", growth.measure),
    "waiting": ("many jobs that wait", growth.measure_waiting),
    "alternatives": ("the same work on Celery and on taskiq", race.measure),
}


def main() -> None:
    """Measure, print, and write where told to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="?", default="", help=f"of {names}; default: all")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--out", type=Path, help="folder for control-plane.json and .md")
    arguments = parser.parse_args()
    chosen = [name for name in arguments.names.split(",") if name] or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {names}")
    with tempfile.TemporaryDirectory(prefix="stembus-bench-") as folder:
        report = Report(this_machine(Path(folder)), quick=arguments.quick, console=Console())
        asyncio.run(_run(Path(folder), chosen, QUICK if arguments.quick else FULL, report))
    report.print()
    if arguments.out:
        report.write(arguments.out)


async def _run(folder: Path, chosen: list[str], scale: Scale, report: Report) -> None:
    for name in chosen:
        title, measure = BENCHMARKS[name]
        report.begin(name, title)
        await measure(folder / name, scale, report)


if __name__ == "__main__":
    main()
