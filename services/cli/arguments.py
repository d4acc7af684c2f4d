"""What the subcommands have in common: their options and arguments."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from services.cli.times import moment
from shared.contracts.audio import AudioFormat, Precision
from shared.contracts.request import Options, Priority, Terms


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


Data = Annotated[Path | None, typer.Option(help="The stack's data folder (default: STEMBUS_DATA).")]
Server = Annotated[str | None, typer.Option(help="URL of a server; default: the local stack.")]
Models = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="Folder with model packages.")
]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs.")]
JobOrBatchIds = Annotated[
    list[str], typer.Argument(metavar="JOB|BATCH...", help="Ids of jobs, or of batches.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs: a record on each line.")]
LastJson = Annotated[bool, typer.Option("--json", help="End with the record as one JSON line.")]

Model = Annotated[str, typer.Option(help="A model's name, or auto.")]
Stems = Annotated[str, typer.Option(help="Stems, comma-separated; default: all.")]
Format = Annotated[AudioFormat, typer.Option("--format", help="How stems are encoded.")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="How exactly to compute; default: as the server is set up."),
]
Shifts = Annotated[
    int,
    typer.Option(
        min=0, max=10, help="Runs over the song, shifted against each other, that are averaged."
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Take nothing that was made of the same song before.")
]
PriorityOption = Annotated[Priority, typer.Option(help="How soon, compared with other jobs.")]
Owner = Annotated[str, typer.Option(help="Whose it is: owners get a fair share each.")]
RunAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        parser=_moment,
        help="Not to be started before: 22:30, 'in 2h', or ISO 8601.",
    ),
]
Deadline = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME", parser=_moment, help="Pointless after: it fails if not done then."
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait", help="When the server is busy, try again; for half an hour at most."
    ),
]


class Wishes(NamedTuple):
    """What shall be made of a song, and when."""

    options: Options
    terms: Terms


def options_of(
    model: str,
    stems: str,
    audio_format: AudioFormat,
    precision: Precision | None,
    shifts: int,
    *,
    fresh: bool,
) -> Options:
    """What shall be made of a song."""
    names = tuple(name.strip() for name in stems.split(",") if name.strip())
    return Options(
        model=model,
        stems=names,
        format=audio_format,
        precision=precision,
        shifts=shifts,
        reuse=not fresh,
    )


def wishes(
    options: Options,
    priority: Priority,
    owner: str,
    run_at: datetime | None = None,
    deadline: datetime | None = None,
) -> Wishes:
    """The options of a submission, together."""
    terms = Terms(owner=owner, priority=priority, run_at=run_at, deadline=deadline)
    return Wishes(options, terms)
