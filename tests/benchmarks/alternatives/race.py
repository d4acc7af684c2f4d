"""The same job on each contender, one after another, in one run."""

from __future__ import annotations

import asyncio
from time import process_time
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.benchmarks.alternatives import terms, verdict
from tests.benchmarks.alternatives.contender import CHAIN, CHATTY, CHUNKED
from tests.benchmarks.alternatives.stembus import Stembus, StembusBus
from tests.benchmarks.lifecycle import IN_FLIGHT, WARM_UP
from tests.benchmarks.processes import cpu_seconds, family_of
from tests.benchmarks.submit import SUBMITS_A_SECOND
from tests.benchmarks.timing import at_once, in_turn, median, offered, percentile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.alternatives.contender import Contender, Running
    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale

#: Submissions under way at once, when as many are made as can be.
SUBMITTERS: Final = 16
#: Seconds after which a turn is stuck.
PATIENCE: Final = 120.0


class Entry(NamedTuple):
    """A contender and what it runs in."""

    contender: Contender
    submits: bool = True
    lives: bool = True


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """All contenders in turn, several times; then what the medians of their numbers say.

    In turn: what else the machine does meanwhile is spread over all of them.
    """
    entries = _entries(report)
    rounds: dict[str, list[verdict.Result]] = {entry.contender.name: [] for entry in entries}
    for number in range(scale.rounds):
        for entry in entries:
            name = entry.contender.name
            report.note(f"turn {number + 1} of {scale.rounds}: {name}")
            async with asyncio.timeout(PATIENCE):
                rounds[name].append(await _turn(folder / f"{number}-{name}", entry, scale))
    medians = {name: _median(results) for name, results in rounds.items()}
    ours = medians[entries[0].contender.name]
    for entry in entries:
        result = medians[entry.contender.name]
        for name, value in result.items():
            unit, ratio = verdict.MEASURES[name].unit, value / ours[name]
            report.add(name, value, unit, of=entry.contender.name, ratio=ratio)
        for sentence in verdict.sentences(ours, entry.contender, result):
            report.say(sentence)


async def _turn(folder: Path, entry: Entry, scale: Scale) -> verdict.Result:
    contender = entry.contender
    result: verdict.Result = {}
    if entry.submits:
        async with contender.running(folder / "submits", workers=False) as running:
            result |= await _submits(running, scale)
    if entry.lives:
        async with contender.running(folder / "lives", workers=True) as running:
            result |= await _lives(running, scale)
    return result


def _median(results: list[verdict.Result]) -> verdict.Result:
    """Of each measure its own."""
    return {name: median([result[name] for result in results]) for name in results[0]}


def _entries(report: Report) -> list[Entry]:
    """Who is there, on this machine."""
    entries = [Entry(Stembus()), Entry(StembusBus(), lives=False)]
    try:
        from tests.benchmarks.alternatives.celery_chain import (  # noqa: PLC0415 - may be missing
            CeleryChain,
            redis_server,
        )
        from tests.benchmarks.alternatives.taskiq_chain import (  # noqa: PLC0415 - likewise
            TaskiqChain,
        )
    except ModuleNotFoundError as exc:
        report.say(f"No alternatives: {exc.name} is missing; pip install -e '.[bench]'.")
        return entries
    if redis_server() is None:
        report.say("No Celery: there is no redis-server; apt-get install redis-server.")
    else:
        entries += [
            Entry(CeleryChain("Celery", CHAIN, terms.CELERY)),
            Entry(
                CeleryChain("Celery, updates in every step", CHATTY, terms.CELERY_CHATTY),
                submits=False,
            ),
            Entry(
                CeleryChain("Celery, a task for each chunk", CHUNKED, terms.CELERY_CHUNKED),
                submits=False,
            ),
        ]
    entries += [
        Entry(TaskiqChain("taskiq", CHAIN, terms.TASKIQ)),
        Entry(
            TaskiqChain("taskiq, updates in every step", CHATTY, terms.TASKIQ_CHATTY),
            submits=False,
        ),
    ]
    return entries


async def _submits(running: Running, scale: Scale) -> verdict.Result:
    """Jobs handed in while nobody works on any."""
    await at_once(running.submit, count=WARM_UP, width=WARM_UP)
    times = await offered(running.submit, count=scale.kicks, a_second=SUBMITS_A_SECOND)
    seconds = await at_once(running.submit, count=scale.kicks, width=SUBMITTERS)
    return {
        verdict.SUBMIT_P50: median(times),
        verdict.SUBMIT_P99: percentile(times, 99),
        verdict.SUBMITS: scale.kicks / seconds,
    }


async def _lives(running: Running, scale: Scale) -> verdict.Result:
    """Jobs from submission to end."""

    async def life() -> None:
        await running.ended(await running.submit())

    await at_once(life, count=2 * WARM_UP, width=WARM_UP)
    processes = family_of(running.pids())
    stored, cpu, own = await running.stored(), cpu_seconds(processes), process_time()
    seconds = await at_once(life, count=scale.race_lives, width=IN_FLIGHT)
    own, cpu = process_time() - own, cpu_seconds(processes) - cpu
    stored = await running.stored() - stored
    alone = await in_turn(life, scale.race_lives_alone)
    return {
        verdict.LIVES: scale.race_lives / seconds,
        verdict.ALONE_P50: median(alone),
        verdict.ALONE_P99: percentile(alone, 99),
        verdict.CPU: 1000 * cpu / scale.race_lives,
        verdict.CLIENT_CPU: 1000 * own / scale.race_lives,
        verdict.STORED: stored / scale.race_lives,
    }
