"""``python -m tests.benchmarks.separation``: Stembus, demucs and audio-separator in one run."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shared.contracts.audio import Precision
from tests.benchmarks.machine import this_machine
from tests.benchmarks.separation import report
from tests.benchmarks.separation.cases import Outcome, Start, Who, cases, rounds_of
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
    parser.add_argument("--tiny", action="store_true", help="a network that takes no time")
    parser.add_argument("--profile", action="store_true", help="where a window's time goes")
    parser.add_argument("--rivals", type=Path, default=Path(".rivals-separation"))
    parser.add_argument("--out", type=Path, help="folder for separation.json, .md and .svg")
    arguments = parser.parse_args()
    console = Console()
    if arguments.profile:
        profile(lambda line: console.print(line, highlight=False, markup=False))
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
    outcomes, differences, missing = list[Outcome](), dict[int, float](), list[str]()
    rivals = (arguments.rivals / "bin" / "audio-separator").exists()
    if not rivals:
        missing.append("audio-separator is not installed: it is left out.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machine, peak = this_machine(folder), matmul_peak()
        build = tiny_htdemucs if arguments.tiny else full_htdemucs
        (folder / "models").mkdir()
        (folder / "runs").mkdir()
        models = model_folder(folder / "models", build)
        course = Course(folder=folder / "runs", models=models, rivals=arguments.rivals.resolve())
        stems = {}
        for case in cases(lengths, workers, full=arguments.full):
            if arguments.only not in case.id or (case.who is Who.AUDIO_SEPARATOR and not rivals):
                continue
            for _ in range(rounds_of(case, arguments.rounds)):
                measured = await course.measure(case)
                outcomes.append(measured.outcome)
                console.print(f"{case.id}: {measured.outcome.wall:.1f} s", highlight=False)
                if case.start is Start.WARM and case.precision is Precision.EXACT:
                    stems[case.who, case.seconds, case.workers] = measured.stems
        for seconds in lengths:
            ours = stems.get((Who.STEMBUS, seconds, workers[0]))
            theirs = stems.get((Who.DEMUCS, seconds, workers[0]))
            if ours and theirs:
                differences[seconds] = difference(ours, theirs)
    return report.page_of(machine, peak, outcomes, differences, missing)


if __name__ == "__main__":
    main()
