"""Words for where a job stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table

from services.cli.times import duration, until
from shared.contracts.audio import Remark
from shared.contracts.job import Status
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from datetime import datetime

    from services.cli.answers import Place

COLOURS: Final = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.PROCESSING: "cyan",
}
#: What a remark means for whoever listens.
REMARKS: Final = {
    Remark.DSP_MONO: "The song is mono: there is no middle to find the voice in.",
    Remark.DSP_NARROW: "Nearly all of the song is in the middle, where the voice is.",
    Remark.DSP_FAINT: "Hardly anything was found in the middle: whoever sings is elsewhere.",
}


def song(job: Snapshot) -> str:
    """What the song is called, as far as is known; from outside."""
    about = job.metadata
    named = " - ".join(part for part in (about and about.artist, about and about.title) if part)
    return named or job.source.url or f"upload {job.source.upload}"


def standing(job: Snapshot) -> str:
    """Its status, and whether it is held."""
    return f"{job.status.value}, held" if job.held else job.status.value


def left(eta: datetime | None) -> str:
    """How long it will take."""
    return f"about {duration(until(eta))} left" if eta else ""


def place(job: Snapshot | Place) -> str:
    """Where a waiting job is in the queue, and what it waits for."""
    if isinstance(job, Snapshot) and job.follows:
        return f"gets what comes of {job.follows}"
    words = [f"place {job.position}"] if job.position else []
    if job.waits_for:
        words.append(job.waits_for.title.lower())
    elif job.starts_at:
        words.append(f"starts in about {duration(until(job.starts_at))}")
    return ", ".join(words)


def percent(value: float) -> str:
    """A progress of 0 to 100; 100 only when it is."""
    return f"{int(value)} %"


def plain_table(*headings: str, wrapping: str = "") -> Table:
    """A table without lines; only the column ``wrapping`` gives way where it is narrow."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != wrapping)
    return table
