"""How the server does, in figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from services.cli.plain import cell
from services.cli.show.words import plain_table
from services.cli.times import duration, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from services.cli.answers import Flow, Quantiles, Stats


def stats_text(stats: Stats) -> Group:
    """All figures, in tables."""
    parts: list[Table | Text] = []
    for table in _tables(stats):
        parts += [Text()] if parts else []
        parts.append(table)
    return Group(*parts)


def _tables(stats: Stats) -> Iterator[Table]:
    yield _jobs(stats)
    yield _queue(stats)
    yield _flows(stats)
    yield _waits(stats)
    if stats.failures:
        yield _failures(stats)
    yield _workers(stats)
    if stats.pauses:
        yield _pauses(stats)


def _jobs(stats: Stats) -> Table:
    table = plain_table("JOBS", "")
    for status, count in stats.jobs.items():
        table.add_row(cell(status), str(count))
    return table


def _queue(stats: Stats) -> Table:
    queue = stats.queue
    table = plain_table("QUEUE", "")
    table.add_row("waiting", str(queue.waiting))
    table.add_row("held", str(queue.held))
    table.add_row("longest wait", _span(queue.oldest_wait_seconds))
    rate = "not known yet" if queue.rate_per_minute is None else f"{queue.rate_per_minute:.1f}"
    table.add_row("jobs a minute", rate)
    if queue.stalled:
        table.add_row("stands still", cell(queue.stalled, "bold red"))
    return table


def _flows(stats: Stats) -> Table:
    table = plain_table("LAST", "SUBMITTED", "COMPLETED", "FAILED", "CANCELLED")
    for name, flow in (("hour", stats.last_hour), ("day", stats.last_day)):
        table.add_row(name, *_flow(flow))
    return table


def _flow(flow: Flow) -> tuple[str, ...]:
    return tuple(
        str(count) for count in (flow.submitted, flow.completed, flow.failed, flow.cancelled)
    )


def _waits(stats: Stats) -> Table:
    table = plain_table("LAST DAY'S JOBS", "HALF BELOW", "90 % BELOW", "99 % BELOW", "JOBS")
    for name, found in (("waited", stats.wait_seconds), ("ran", stats.run_seconds)):
        table.add_row(name, *_quantiles(found))
    return table


def _quantiles(found: Quantiles) -> tuple[str, ...]:
    return (*(_span(seconds) for seconds in (found.p50, found.p90, found.p99)), str(found.n))


def _failures(stats: Stats) -> Table:
    table = plain_table("LAST DAY'S FAILURES", "")
    for code, count in sorted(stats.failures.items(), key=lambda item: -item[1]):
        table.add_row(cell(code), str(count))
    return table


def _workers(stats: Stats) -> Table:
    table = plain_table("WORKER", "STAGE", "BUSY", "DEVICE", "SPEED", "STATE", wrapping="SPEED")
    for one in stats.workers:
        speeds = ", ".join(f"{model} {speed:.1f}x" for model, speed in one.speeds.items())
        table.add_row(
            cell(one.worker),
            cell(one.stage),
            f"{one.busy} of {one.slots}",
            cell(one.device),
            cell(speeds),
            cell(one.ailment or "", "bold red"),
        )
    if not stats.workers:
        table.add_row(cell("none is there", "bold red"))
    return table


def _pauses(stats: Stats) -> Table:
    table = plain_table("PAUSED SITE", "ASKED AGAIN IN", "WHY")
    for pause in stats.pauses:
        table.add_row(cell(pause.site), duration(until(pause.until)), cell(pause.code))
    return table


def _span(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
