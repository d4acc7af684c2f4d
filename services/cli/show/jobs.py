"""Jobs as a table, and all there is to say of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from services.cli.plain import cell
from services.cli.show.problems import problem_text
from services.cli.show.words import (
    COLOURS,
    REMARKS,
    left,
    percent,
    place,
    plain_table,
    song,
    standing,
)
from services.cli.times import duration, local, until
from shared.contracts.job import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from shared.contracts.audio import StemFile
    from shared.contracts.snapshot import Snapshot


def job_table(jobs: Iterable[Snapshot]) -> Table:
    """A row for each job."""
    table = plain_table("JOB", "STATUS", "PROGRESS", "QUEUE", "ETA", "SONG", wrapping="SONG")
    for job in jobs:
        title = cell(song(job))
        if job.error:
            title.append_text(cell(f"  {job.error.title}", "dim"))
        table.add_row(
            cell(job.id),
            Text(standing(job), style=COLOURS.get(job.status, "")),
            _progress(job),
            _queue(job),
            _eta(job),
            title,
        )
    return table


def job_details(job: Snapshot) -> Group:
    """Everything of one job."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(job):
        if value:
            facts.add_row(
                name, cell(value, COLOURS.get(job.status, "") if name == "status" else "")
            )
    parts: list[Table | Text] = [facts]
    if job.error:
        parts += [Text(), problem_text(job.error)]
    if job.waits_for:
        parts += [Text(), problem_text(job.waits_for, "waits for")]
    if job.timeline:
        parts += [Text(), _timeline(job)]
    return Group(*parts)


def _facts(job: Snapshot) -> Iterator[tuple[str, str]]:
    about = job.metadata
    parts = job.separation
    yield "job", job.id
    yield "song", song(job)
    yield "status", standing(job)
    yield "progress", _progress(job)
    yield "queue", place(job)
    yield "eta", f"{_at(job.eta)}, {left(job.eta)}" if job.eta and not job.status.terminal else ""
    yield "source", job.source.url or f"upload {job.source.upload}"
    yield "page", (about and about.page) or ""
    yield "length", duration(job.seconds) if job.seconds else ""
    yield "original", job.original or ""
    yield "model", _model(job)
    yield "chunks", f"{parts.chunks_done} of {parts.chunks}" if parts else ""
    yield "stems", ", ".join(parts.stems if parts else job.options.stems) or "all"
    yield "format", job.options.format.value
    yield "precision", parts.precision.value if parts else ""
    yield "shifts", str(parts.shifts) if parts and parts.shifts else ""
    yield "loudness", f"{job.loudness:.1f} LUFS" if job.loudness is not None else ""
    yield "files", ", ".join(_file(stem) for stem in job.stems)
    yield "note", " ".join(REMARKS[remark] for remark in job.remarks)
    yield "owner", job.owner
    yield "priority", job.priority.value
    yield "batch", job.batch or ""
    yield "submitted", _at(job.created_at)
    yield "not before", _at(job.run_at)
    yield "deadline", _at(job.deadline)
    yield "waits since", _at(job.queued_at) if job.status is Status.PENDING else ""
    yield "follows", job.follows or ""
    yield "started", _at(job.started_at)
    yield "ended", _at(job.finished_at)


def _file(stem: StemFile) -> str:
    loudness = f" at {stem.loudness:.1f} LUFS" if stem.loudness is not None else ""
    return f"{stem.name} {stem.bytes / 1e6:.1f} MB{loudness}"


def _model(job: Snapshot) -> str:
    asked, used = job.options.model, job.separation and job.separation.model
    return f"{used} (asked for: {asked})" if used and used != asked else asked


def _timeline(job: Snapshot) -> Table:
    table = plain_table("AT", "AFTER", "STATUS", "PHASE", "NOTE", wrapping="NOTE")
    for moment in job.timeline:
        table.add_row(
            local(moment.at),
            duration((moment.at - job.created_at).total_seconds()),
            Text(moment.status.value, style=COLOURS.get(moment.status, "")),
            moment.phase.value if moment.phase else "",
            cell(moment.note),
        )
    return table


def _progress(job: Snapshot) -> str:
    phase = f"{job.phase.value} " if job.phase and job.status is not Status.COMPLETED else ""
    return f"{phase}{percent(job.progress)}"


def _queue(job: Snapshot) -> str:
    words = [str(job.position)] if job.position else ["follows"] if job.follows else []
    if job.waits_for:
        words.append(f"({job.waits_for.code.value})")
    return " ".join(words)


def _eta(job: Snapshot) -> str:
    if job.status is Status.SCHEDULED and job.run_at:
        return f"starts in {duration(until(job.run_at))}"
    return duration(until(job.eta)) if job.eta and not job.status.terminal else ""


def _at(at: datetime | None) -> str:
    return local(at) if at else ""
