"""``batch`` and ``batches``: many songs at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.cli.answers import ApiError, BatchView, LostError, UnreachableError
from services.cli.arguments import (
    AsJson,
    Data,
    Deadline,
    Format,
    Fresh,
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
from services.cli.exits import Exit, ended_exit
from services.cli.following import follow_batch
from services.cli.patience import PATIENCE_SECONDS, patiently
from services.cli.saving import BatchSaver
from services.cli.session import Where, connected, connected_or_started
from services.cli.show.batches import batch_table, skipped_text, tally
from services.cli.show.live import progress_of
from services.cli.show.problems import problem_text
from services.cli.sources import Songs, SourceError, is_loopback, several
from services.cli.terminal import Terminal, carry_out
from shared.contracts.audio import AudioFormat
from shared.contracts.batch import MAX_ENTRIES
from shared.contracts.job import Status
from shared.contracts.request import Priority
from shared.contracts.snapshot import Snapshot

app = typer.Typer()


@app.command()
def batch(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL|FILE|FOLDER|-]...",
            help="URLs, songs, folders of songs, text files with a URL on each line (-: stdin).",
        ),
    ] = None,
    playlist: Annotated[str | None, typer.Option(help="Address of a playlist, instead.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Save the stems there, a folder for each song."),
    ] = None,
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
    wait: Wait = True,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the batch's id and don't wait for it.")
    ] = False,
    server: Server = None,
    as_json: LastJson = False,
    data: Data = None,
    models: Models = None,
) -> None:
    """Send many songs, follow them, and save their stems.

    Uses the running stack, or starts one for the while.
    """
    if bool(sources) == (playlist is not None):
        raise typer.BadParameter("name songs, or a playlist, but not both")
    if detach and out:
        raise typer.BadParameter("nobody stays to save the stems; see: stembus save")
    options = options_of(model, stems, audio_format, precision, shifts, fresh=fresh)
    wish = wishes(options, priority, owner, run_at, deadline)
    where = Where(server, data)

    async def work(terminal: Terminal) -> Exit:
        songs = _songs(sources or [])
        loopback = songs.loopback or is_loopback(playlist or "")
        async with (
            connected(where)
            if detach
            else connected_or_started(terminal, where, models, loopback=loopback)
        ) as client:
            uploads = await _upload(terminal, client, songs, wait=wait)
            batch_id = await _submit(terminal, client, songs, uploads, playlist, wish, wait=wait)
            if detach:
                terminal.line(batch_id)
                return Exit.DONE
            terminal.say(f"Batch {batch_id}; Ctrl-C calls it off")
            saver = BatchSaver(client, batch_id, out) if out else None
            try:
                ended = await _follow(terminal, client, batch_id, saver)
            except asyncio.CancelledError:
                with suppress(ApiError, UnreachableError, LostError):
                    await client.command_batch(batch_id, "cancel")
                raise
            finally:
                if saver:
                    await saver.stop()
        _conclude(terminal, ended, uploads, saver, as_json=as_json)
        return ended_exit(ended)

    carry_out(work)


def _songs(words: list[str]) -> Songs:
    songs = several(words)
    count = len(songs.urls) + len(songs.files)
    if words and not count:
        raise SourceError("there is no song in what was named")
    if count > MAX_ENTRIES:  # said before hours of uploads are for nothing
        raise SourceError(f"{count} songs are too many for one batch; {MAX_ENTRIES} is the most")
    return songs


async def _upload(
    terminal: Terminal, client: Client, songs: Songs, *, wait: bool
) -> dict[str, str]:
    """Send the files; the uploads' ids, and the file that each is."""
    sent: dict[str, str] = {}
    patience = PATIENCE_SECONDS if wait else 0.0
    for number, path in enumerate(songs.files, 1):
        terminal.say(f"Uploading {number} of {len(songs.files)}: {path}")
        upload = await patiently(partial(client.upload, path), patience, terminal.say)
        sent[upload] = str(path)
    return sent


async def _submit(
    terminal: Terminal,
    client: Client,
    songs: Songs,
    uploads: dict[str, str],
    playlist: str | None,
    wish: Wishes,
    *,
    wait: bool,
) -> str:
    asked: dict[str, object] = {"urls": songs.urls, "uploads": list(uploads)}
    if playlist:
        asked = {"playlist": playlist}
    key = new_key()  # the same for each attempt
    return await patiently(
        lambda: client.submit_batch(asked, wish.options, terms=wish.terms, key=key),
        PATIENCE_SECONDS if wait else 0.0,
        terminal.say,
    )


async def _follow(
    terminal: Terminal, client: Client, batch_id: str, saver: BatchSaver | None
) -> BatchView:
    """Show how the batch goes on, and have saved what it makes; the batch when it has ended."""
    ended: BatchView | None = None
    with progress_of(terminal.err) as line:
        async for event in follow_batch(client, batch_id):
            if isinstance(event, BatchView):
                ended = event
                line.show(event)
            elif isinstance(event, Snapshot) and saver:
                saver.offer(event)
        if saver:
            await saver.finish()
    return ended or await client.batch(batch_id)


def _conclude(
    terminal: Terminal,
    ended: BatchView,
    uploads: dict[str, str],
    saver: BatchSaver | None,
    *,
    as_json: bool,
) -> None:
    """What came of it: what was saved, what was skipped and why, and the sum."""
    for path in saver.saved if saver else ():
        (terminal.say if as_json else terminal.line)(str(path))
    for skipped in ended.skipped:
        terminal.err.print(skipped_text(skipped, uploads), soft_wrap=True)
    if ended.error:
        terminal.err.print(problem_text(ended.error), soft_wrap=True)
    terminal.say(f"Batch {ended.id} {ended.state}: {tally(ended)}")
    if saver is None and ended.counts.get(Status.COMPLETED):
        terminal.say(f"Its stems are on the server; to have them: stembus save {ended.id}")
    if as_json:
        terminal.json(ended)


@app.command()
def batches(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 20,
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the newest batches."""

    async def work(terminal: Terminal) -> Exit:
        async with connected(Where(server, data)) as client:
            page = await client.batches(limit)
        if as_json:
            for one in page.batches:
                terminal.json(one)
        else:
            terminal.show(batch_table(page.batches))
        return Exit.DONE

    carry_out(work)
