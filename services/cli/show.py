"""What a person sees of jobs in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from shared.contracts.job import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.cli.client import Event, ProblemBody
    from shared.contracts.live import Progress as LiveProgress
    from shared.contracts.problem import Problem
    from shared.contracts.snapshot import Snapshot

_COLOURS: Final = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.PROCESSING: "cyan",
}


def song(job: Snapshot) -> str:
    """What the song is called, as far as is known."""
    about = job.metadata
    named = " - ".join(part for part in (about and about.artist, about and about.title) if part)
    return named or job.source.url or f"upload {job.source.upload}"


def left(eta: datetime | None) -> str:
    """How long it will take, in words."""
    if eta is None:
        return ""
    seconds = max(0, round((eta - datetime.now(UTC)).total_seconds()))
    return f"about {seconds} s left" if seconds < 90 else f"about {round(seconds / 60)} min left"  # noqa: PLR2004 - reads better


class Spoken:
    """One job's progress where the output is no terminal: a line for each step worth one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ("", -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Say what ``event`` tells, if the phase or the tenth has changed."""
        line = event_line(event)
        percent = event.job.progress if event.job else event.progress and event.progress.progress
        phase = event.job.status if event.job else event.progress and event.progress.activity
        step = (str(phase), int((percent or 0.0) // 10))
        if line is not None and step != self._said:
            self._said = step
            self._console.print(line, soft_wrap=True)


def progress_of(console: Console) -> ProgressLine | Spoken:
    """How to show a job's progress on ``console``."""
    return ProgressLine(console) if console.is_terminal else Spoken(console)


class ProgressLine:
    """One live line for one job."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=False,
        )
        self._task = self._bar.add_task("waiting", total=100.0, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Draw what ``event`` tells."""
        if event.job is not None:
            self._draw_job(event.job)
        if event.progress is not None:
            self._draw_progress(event.progress)

    def _draw_job(self, job: Snapshot) -> None:
        what = job.phase if job.status is Status.PROCESSING and job.phase else job.status
        note = song(job) if job.metadata else ""
        self._bar.update(self._task, completed=job.progress, description=what.value, note=note[:60])

    def _draw_progress(self, progress: LiveProgress) -> None:
        note = ", ".join(
            part
            for part in (
                progress.activity.value.replace("_", " "),
                progress.note,
                left(progress.eta),
            )
            if part
        )
        self._bar.update(
            self._task,
            completed=progress.progress,
            description=progress.phase.value,
            note=note[:80],
        )


def problem_text(problem: Problem | ProblemBody) -> Text:
    """An error's title, detail and hint."""
    text = Text()
    text.append(f"{problem.title}\n", style="bold red")
    if problem.detail:
        text.append(f"  {problem.detail}\n")
    if problem.hint:
        text.append(f"  {problem.hint}", style="dim")
    return text


def job_table(jobs: Sequence[Snapshot]) -> Table:
    """The newest jobs, a row each."""
    table = Table(box=None, pad_edge=False)
    for heading in ("JOB", "STATUS", "PROGRESS", "MODEL", "SONG"):
        table.add_column(heading, no_wrap=heading != "SONG")
    for job in jobs:
        model = job.separation.model if job.separation else job.options.model
        table.add_row(
            job.id,
            Text(job.status.value, style=_COLOURS.get(job.status, "")),
            f"{job.progress:.0f} %",
            model,
            Text(song(job)),
        )
    return table


def event_line(event: Event) -> Text | None:
    """One line about a live event."""
    if event.job is not None:
        job = event.job
        line = Text(f"{job.id}  ")
        line.append(f"{job.status.value:<11}", style=_COLOURS.get(job.status, ""))
        line.append(f"{job.phase.value if job.phase else '':<13}{job.progress:5.1f} %  {song(job)}")
        return line
    if event.progress is not None:
        told = event.progress
        what = f"{told.activity.value} {told.note}"
        return Text(f"{told.job_id}  {'':<11}{told.phase.value:<13}{told.progress:5.1f} %  {what}")
    return None
