"""``watch`` and ``stats``: what happens, and how the server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from services.cli.answers import BatchView, Gone
from services.cli.arguments import AsJson, Data, Server
from services.cli.events import Event, Look, kind_of
from services.cli.exits import Exit, ended_exit
from services.cli.finding import found
from services.cli.following import follow_batch, follow_job
from services.cli.session import Where, connected
from services.cli.show.live import event_line
from services.cli.show.stats import stats_text
from services.cli.terminal import Terminal, carry_out
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.cli.client import Client

app = typer.Typer()


class _Heard(Struct, frozen=True):
    """What ``watch --json`` says of each event: as the stream has it."""

    event: str
    data: Event


@app.command()
def watch(
    name: Annotated[
        str | None, typer.Argument(metavar="[JOB|BATCH]", help="The id of a job or a batch.")
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Follow a job or a batch until it has ended, or everything."""

    async def work(terminal: Terminal) -> Exit:
        async with connected(Where(server, data)) as client:
            known = await found(client, name) if name else None
            async for event in _events(client, known):
                if isinstance(event, Snapshot | BatchView) and event.id == name:
                    known = event
                if isinstance(event, Look):
                    continue
                if as_json:
                    terminal.json(_Heard(kind_of(event), event))
                elif (line := event_line(event)) is not None:
                    terminal.out.print(line, soft_wrap=True)
                if isinstance(event, Gone) and event.id == name:
                    return ended_exit(known) if known else Exit.DONE
            if isinstance(known, Snapshot) and not known.status.terminal:
                known = await client.job(known.id)
        return ended_exit(known) if known else Exit.DONE

    carry_out(work)


def _events(client: Client, known: Snapshot | BatchView | None) -> AsyncIterator[Event]:
    match known:
        case Snapshot():
            return follow_job(client, known.id)
        case BatchView():
            return follow_batch(client, known.id)
        case None:
            return client.events()


@app.command()
def stats(server: Server = None, as_json: AsJson = False, data: Data = None) -> None:
    """Show the queue, the throughput, failures and workers."""

    async def work(terminal: Terminal) -> Exit:
        async with connected(Where(server, data)) as client:
            figures = await client.stats()
        if as_json:
            terminal.json(figures)
        else:
            terminal.show(stats_text(figures))
        return Exit.DONE

    carry_out(work)
