"""Batches as a table, and what one is in sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from services.cli.plain import cell
from services.cli.show.problems import problem_text
from services.cli.show.words import percent, plain_table
from services.cli.times import local
from shared.contracts.batch import BatchStatus
from shared.contracts.job import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.cli.answers import BatchView
    from shared.contracts.batch import Skipped


def tally(batch: BatchView) -> str:
    """How many of its songs are where: ``3 of 10 done, 1 failed, 2 skipped``."""
    if batch.status is BatchStatus.EXPANDING:
        return "reading the playlist"
    counts = batch.counts
    words = [f"{counts.get(Status.COMPLETED, 0)} of {len(batch.jobs)} done"]
    words += [
        f"{counts[status]} {status}"
        for status in (Status.PROCESSING, Status.FAILED, Status.CANCELLED)
        if counts.get(status)
    ]
    if batch.skipped:
        words.append(f"{len(batch.skipped)} skipped")
    return ", ".join(words)


def batch_table(batches: Iterable[BatchView]) -> Table:
    """A row for each batch."""
    table = plain_table(
        "BATCH", "STATE", "PROGRESS", "SONGS", "SUBMITTED", "TITLE", wrapping="TITLE"
    )
    for batch in batches:
        table.add_row(
            cell(batch.id),
            cell(batch.state),
            percent(batch.progress),
            tally(batch),
            local(batch.created_at),
            cell(batch.title or batch.playlist or ""),
        )
    return table


def batch_details(batch: BatchView) -> Group:
    """What one batch is in sum, what went wrong with it, and what was skipped."""
    parts: list[Table | Text] = [batch_table([batch])]
    if batch.error:
        parts += [Text(), problem_text(batch.error)]
    if batch.skipped:
        parts += [Text(), *(skipped_text(skipped) for skipped in batch.skipped)]
    return Group(*parts)


def skipped_text(skipped: Skipped, names: Mapping[str, str] | None = None) -> Text:
    """What was skipped and why; ``names`` are the files behind uploads' ids."""
    entry = (names or {}).get(skipped.entry, skipped.entry)
    return problem_text(skipped.problem, f"skipped {entry}")
