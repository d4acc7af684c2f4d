"""Live events as they come: a line for each, or one line that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from services.cli.answers import BatchView, Gone, Place
from services.cli.plain import plain
from services.cli.show.batches import tally
from services.cli.show.words import COLOURS, left, place, song, standing
from shared.contracts.job import Status
from shared.contracts.live import Progress as LiveProgress
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import Console

    from services.cli.events import Event


def event_line(event: Event) -> Text | None:
    """One line about a live event; None if it tells a person nothing."""
    match event:
        case Snapshot() as job:
            colour = COLOURS.get(job.status, "")
            what = " ".join(part for part in (place(job), plain(song(job))) if part)
            return _line(
                job.id,
                standing(job),
                job.phase.value if job.phase else "",
                job.progress,
                what,
                colour,
            )
        case LiveProgress() as told:
            what = f"{told.activity.value} {told.note}"
            return _line(told.job_id, "", told.phase.value, told.progress, what)
        case Place():
            return _line(event.id, "", "", None, place(event))
        case Gone():
            return _line(event.id, "removed", "", None, "")
        case BatchView():
            return _line(event.id, event.state, "batch", event.progress, tally(event))
        case _:
            return None


def _line(
    name: str, status: str, phase: str, progress: float | None, what: str, colour: str = ""
) -> Text:
    line = Text(f"{plain(name)}  ")
    line.append(f"{plain(status):<11}", style=colour)
    share = "" if progress is None else f"{progress:5.1f} %"
    line.append(f" {phase:<13}{share:>7}  {plain(what)}")
    return line


class Spoken:
    """Progress where the output is no terminal: a line for each step worth one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """Say what ``event`` tells, if something but some per cent has changed."""
        line = event_line(event)
        step = _step(event)
        if line is not None and step != self._said:
            self._said = step
            self._console.print(line, soft_wrap=True)


def _step(event: Event) -> tuple[object, ...]:
    """What has to change for a line to be worth it: a state, a place, or a tenth."""
    match event:
        case Snapshot() as job:
            place = (job.position, job.follows, job.waits_for)
            return (job.status, job.held, *place, int(job.progress // 10))
        case LiveProgress() as told:
            return (told.activity, int(told.progress // 10))
        case Place():
            return (event.position, event.waits_for)
        case BatchView():
            return (event.state, tuple(event.counts.items()))
        case _:
            return (event,)


def progress_of(console: Console) -> ProgressLine | Spoken:
    """How to show progress on ``console``."""
    return ProgressLine(console) if console.is_terminal else Spoken(console)


class ProgressLine:
    """One live line for one job, or for one batch."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=False,
            # Results go to standard output, whatever moves on standard error.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("waiting", total=100.0, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Draw what ``event`` tells."""
        match event:
            case Snapshot() as job:
                what = job.phase if job.status is Status.PROCESSING and job.phase else job.status
                note = place(job) or (song(job) if job.metadata else "")
                self._draw(what.value, note, job.progress)
            case LiveProgress() as told:
                activity = told.activity.value.replace("_", " ")
                words = (activity, told.note, left(told.eta))
                note = ", ".join(word for word in words if word)
                self._draw(told.phase.value, note, told.progress)
            case Place():
                self._draw("waiting", place(event), None)
            case BatchView():
                self._draw(plain(event.state), tally(event), event.progress)

    def _draw(self, what: str, note: str, progress: float | None) -> None:
        self._bar.update(
            self._task, completed=progress, description=what, note=plain(note)[:80].strip()
        )
