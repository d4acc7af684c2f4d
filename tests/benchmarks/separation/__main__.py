"""``python -m tests.benchmarks.separation``: Stembus, demucs and audio-separator in one run."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shared.contracts.audio import Precision
from tests.benchmarks.machine import this_machine
from tests.benchmarks.separation import report
from tests.benchmarks.separation.bounds import bounds
from tests.benchmarks.separation.cases import Case, Start, Who, cases, rounds_of
from tests.benchmarks.separation.ledger import Difference, Ledger, Measured
from tests.benchmarks.separation.measuring import Course, difference
from tests.benchmarks.separation.peak import matmul_peak
from tests.benchmarks.separation.profile import profile
from tests.benchmarks.separation.weights import full_htdemucs, model_folder, tiny_htdemucs


def main() -> None:
    """Measure, print, and write where told to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.separation")
    parser.add_argument("--lengths", default="30,240", help="seconds of the songs")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=2, help="of what does not take long")
    parser.add_argument("--only", default="", help="cases with these words in their name")
    parser.add_argument("--full", action="store_true", help="also what says nothing new")
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--tiny", action="store_true", help="a network that takes no time")
    parser.add_argument("--profile", action="store_true", help="where a window's time goes")
    parser.add_argument("--bounds", default="", help="memory for tracks of so many seconds")
    parser.add_argument("--rivals", type=Path, default=Path(".rivals-separation"))
    parser.add_argument("--ledger", type=Path, help="file to keep what is measured in, and go on")
    parser.add_argument("--out", type=Path, help="folder for separation.json, .md and .svg")
    arguments = parser.parse_args()
    console = Console()

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    if arguments.profile:
        profile(say)
        return
    if arguments.bounds:
        asyncio.run(bounds([int(one) for one in arguments.bounds.split(",")], say))
        return
    page = asyncio.run(_measured(arguments, console))
    head, *lines = report.table(page)
    shown = Table(*head)
    for line in lines:
        shown.add_row(*line)
    console.print(f"\n{page.machine}\nmatrix products: {page.matmul_gflops} GFLOP/s", shown)
    console.print(page.differences, *page.missing)
    if arguments.out is not None:
        report.write(page, arguments.out)


async def _measured(arguments: argparse.Namespace, console: Console) -> report.Page:
    lengths = [int(one) for one in arguments.lengths.split(",")]
    workers = [int(one) for one in arguments.workers.split(",")]
    ledger = Ledger(arguments.ledger)
    missing = list[str]()
    rivals = (arguments.rivals / "bin" / "audio-separator").exists()
    if not rivals:
        missing.append("audio-separator is not installed: it is left out.")
    wanted = [
        case
        for case in cases(lengths, workers, full=arguments.full)
        if arguments.only in case.id and (rivals or case.who is not Who.AUDIO_SEPARATOR)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine, peak = this_machine(folder), matmul_peak(arguments.device)
        build = tiny_htdemucs if arguments.tiny else full_htdemucs
        (folder / "models").mkdir()
        models = model_folder(folder / "models", build)
        for _, heat in groupby(wanted, key=lambda case: case.heat):
            # One of each, then again one of each: a machine is not as fast at all times.
            group = list(heat)
            for turn in range(arguments.rounds):
                due = [
                    case
                    for case in group
                    if ledger.times(case) <= turn < rounds_of(case, arguments.rounds)
                ]
                with tempfile.TemporaryDirectory(dir=folder) as runs:
                    rivals_at = arguments.rivals.resolve()
                    course = Course(
                        folder=Path(runs),
                        models=models,
                        rivals=rivals_at,
                        device=arguments.device,
                    )
                    await _turn(course, due, ledger, console)
    return report.page_of(
        machine, arguments.device, peak, ledger.outcomes, ledger.differences, missing
    )


async def _turn(course: Course, due: list[Case], ledger: Ledger, console: Console) -> None:
    """Measure each of these cases, all of which have the same songs, once."""
    stems = {}
    for case in due:
        measured = await course.measure(case)
        ledger.add(Measured(outcome=measured.outcome))
        console.print(f"{case.id}: {measured.outcome.wall:.1f} s", highlight=False)
        if case.start is Start.WARM and case.precision is Precision.EXACT and case.workers == 1:
            stems[case.who] = measured.stems
        if Who.STEMBUS in stems and Who.DEMUCS in stems:
            largest = difference(stems.pop(Who.STEMBUS), stems.pop(Who.DEMUCS))
            ledger.add(Difference(seconds=case.seconds, largest=largest))


if __name__ == "__main__":
    main()
