"""``separate``, ``submit`` and ``save``: songs on their way in, and stems on their way out."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from services.cli.answers import ApiError, LostError, UnreachableError
from services.cli.arguments import (
    AsJson,
    Data,
    Deadline,
    Format,
    Fresh,
    JobOrBatchIds,
    LastJson,
    Model,
    Models,
    Owner,
    PrecisionOption,
    PriorityOption,
    RunAt,
    Server,
    Shifts,
    Stems,
    Wait,
    Wishes,
    options_of,
    wishes,
)
from services.cli.client import Client, new_key
from services.cli.exits import Exit, ended_exit, refused_exit
from services.cli.finding import jobs_of
from services.cli.following import follow_job
from services.cli.patience import PATIENCE_SECONDS, patiently
from services.cli.saving import folder_of, save
from services.cli.session import Where, connected, connected_or_started
from services.cli.show.live import progress_of
from services.cli.show.problems import problem_text
from services.cli.show.words import song
from services.cli.sources import is_loopback, one
from services.cli.terminal import Terminal, carry_out
from shared.contracts.audio import AudioFormat
from shared.contracts.job import Status
from shared.contracts.request import Priority
from shared.contracts.snapshot import Snapshot

app = typer.Typer()

Out = Annotated[Path, typer.Option(file_okay=False, help="Folder for the stems.")]


class _Submitted(Struct, frozen=True):
    """What ``submit --json`` says of each job."""

    id: str
    source: str


@app.command()
def separate(
    source: Annotated[str, typer.Argument(help="A file, or an http(s) URL.")],
    out: Out = Path("stems"),
    model: Model = "auto",
    stems: Stems = "",
    audio_format: Format = AudioFormat.FLAC,
    precision: PrecisionOption = None,
    shifts: Shifts = 0,
    fresh: Fresh = False,
    priority: PriorityOption = Priority.NORMAL,
    owner: Owner = "",
    wait: Wait = True,
    server: Server = None,
    as_json: LastJson = False,
    data: Data = None,
    models: Models = None,
) -> None:
    """Send one song, follow it, and save its stems.

    Uses the running stack, or starts one for the while.
    """
    options = options_of(model, stems, audio_format, precision, shifts, fresh=fresh)
    wish = wishes(options, priority, owner)

    async def work(terminal: Terminal) -> Exit:
        given = one(source)
        loopback = isinstance(given, str) and is_loopback(given)
        async with connected_or_started(
            terminal, Where(server, data), models, loopback=loopback
        ) as client:
            job_id = await _submit(terminal, client, given, wish, None, wait=wait)
            try:
                job = await _follow(terminal, client, job_id)
            except asyncio.CancelledError:
                with suppress(ApiError, UnreachableError, LostError):
                    await client.command(job_id, "cancel")
                raise
            await _deliver(terminal, client, job, out, as_json=as_json)
        return ended_exit(job)

    carry_out(work)


async def _follow(terminal: Terminal, client: Client, job_id: str) -> Snapshot:
    with progress_of(terminal.err) as line:
        async for event in follow_job(client, job_id):
            line.show(event)
            if isinstance(event, Snapshot) and event.status.terminal:
                return event
    return await client.job(job_id)


async def _deliver(
    terminal: Terminal, client: Client, job: Snapshot, out: Path, *, as_json: bool
) -> None:
    """Save what was made, or say why nothing was."""
    if job.status is Status.COMPLETED:
        for path in await save(client, job, out):
            (terminal.say if as_json else terminal.line)(str(path))
        model = job.separation.model if job.separation else job.options.model
        terminal.say(f"Separated {song(job)} with the model {model} into {out}")
    elif job.error is not None:
        terminal.err.print(problem_text(job.error), soft_wrap=True)
    if as_json:
        terminal.json(job)


@app.command()
def submit(
    sources: Annotated[list[str], typer.Argument(help="Files, or http(s) URLs.")],
    model: Model = "auto",
    stems: Stems = "",
    audio_format: Format = AudioFormat.FLAC,
    precision: PrecisionOption = None,
    shifts: Shifts = 0,
    fresh: Fresh = False,
    priority: PriorityOption = Priority.NORMAL,
    owner: Owner = "",
    run_at: RunAt = None,
    deadline: Deadline = None,
    own_id: Annotated[
        str | None, typer.Option("--id", help="An id of your own, for a single song.")
    ] = None,
    wait: Wait = False,
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Send songs and print their jobs' ids, without waiting."""
    if own_id and len(sources) > 1:
        raise typer.BadParameter("an id can be given to one song only", param_hint="--id")
    options = options_of(model, stems, audio_format, precision, shifts, fresh=fresh)
    wish = wishes(options, priority, owner, run_at, deadline)

    async def work(terminal: Terminal) -> Exit:
        songs = [one(source) for source in sources]
        end = Exit.DONE
        async with connected(Where(server, data)) as client:
            for given in songs:
                try:
                    job_id = await _submit(terminal, client, given, wish, own_id, wait=wait)
                except ApiError as exc:
                    terminal.refused(exc, str(given))
                    end = refused_exit(exc)
                    if exc.busy:  # it would say the same of the rest
                        break
                    continue
                if as_json:
                    terminal.json(_Submitted(job_id, str(given)))
                else:
                    terminal.line(job_id)
        return end

    carry_out(work)


async def _submit(
    terminal: Terminal,
    client: Client,
    given: str | Path,
    wish: Wishes,
    own_id: str | None,
    *,
    wait: bool,
) -> str:
    patience = PATIENCE_SECONDS if wait else 0.0
    source = {"url": given} if isinstance(given, str) else {}
    if isinstance(given, Path):
        upload = await patiently(lambda: client.upload(given), patience, terminal.say)
        source = {"upload": upload}
    key = new_key()  # the same for each attempt

    async def attempt() -> str:
        return await client.submit(source, wish.options, terms=wish.terms, job_id=own_id, key=key)

    return await patiently(attempt, patience, terminal.say)


@app.command("save")
def save_stems(
    ids: JobOrBatchIds, out: Out = Path("stems"), server: Server = None, data: Data = None
) -> None:
    """Save the stems of jobs that are done.

    Those of several jobs go each into a folder of its own.
    """

    async def work(terminal: Terminal) -> Exit:
        async with connected(Where(server, data)) as client:
            jobs = [job for name in ids async for job in jobs_of(client, name)]
            for job in jobs:
                folder = out / folder_of(job) if len(jobs) > 1 or job.batch in ids else out
                for path in await save(client, job, folder):
                    terminal.line(str(path))
        undone = [job for job in jobs if job.status is not Status.COMPLETED]
        for job in undone:
            terminal.say(f"{job.id}: {job.status.value}, there are no stems")
        return Exit.FAILED if undone else Exit.DONE

    carry_out(work)
