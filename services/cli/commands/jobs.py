"""``jobs``, ``show``, and what can be done to jobs: ``cancel``, ``hold`` and the like."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.answers import ApiError, BatchView
from services.cli.arguments import AsJson, Data, JobIds, JobOrBatchIds, Server
from services.cli.client import Client, Filter
from services.cli.exits import Exit, refused_exit
from services.cli.finding import found, job_or_batch, jobs_of
from services.cli.session import Where, connected
from services.cli.show.batches import batch_details
from services.cli.show.jobs import job_details, job_table
from services.cli.show.words import standing
from services.cli.terminal import Terminal, carry_out
from shared.contracts.job import Status
from shared.contracts.request import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.contracts.snapshot import Snapshot

app = typer.Typer()


class Sort(StrEnum):
    """Orders that the server knows."""

    NEWEST = "-created"
    OLDEST = "created"
    CHANGED_LAST = "-updated"
    CHANGED_FIRST = "updated"


@app.command("jobs")
def list_jobs(
    status: Annotated[Status | None, typer.Option(help="Only those of this status.")] = None,
    owner: Annotated[str, typer.Option(help="Only this owner's.")] = "",
    search: Annotated[
        str, typer.Option(help="Only those with this in title, artist, address or id.")
    ] = "",
    batch: Annotated[str, typer.Option(help="Only those of this batch.")] = "",
    sort: Annotated[Sort, typer.Option(help="With a minus, the newest first.")] = Sort.NEWEST,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List jobs, the newest first."""
    wanted = Filter(
        status=status.value if status else "", owner=owner, batch=batch, q=search, sort=sort.value
    )

    async def work(terminal: Terminal) -> Exit:
        jobs: list[Snapshot] = []
        async with connected(Where(server, data)) as client:
            async for page in client.pages(wanted, None if everything else limit):
                if not as_json:
                    jobs += page.jobs
                    continue
                for job in page.jobs:
                    terminal.json(job)
        if not as_json:
            terminal.show(job_table(jobs))
        return Exit.DONE

    carry_out(work)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="JOB|BATCH", help="The id of a job or a batch.")],
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show everything of one job, or of one batch."""

    async def work(terminal: Terminal) -> Exit:
        async with connected(Where(server, data)) as client:
            one = await found(client, name)
            if as_json:
                terminal.json(one)
            elif isinstance(one, BatchView):
                terminal.show(batch_details(one))
                terminal.show(job_table([job async for job in jobs_of(client, name)]))
            else:
                terminal.show(job_details(one))
        return Exit.DONE

    carry_out(work)


@app.command()
def cancel(
    ids: JobOrBatchIds, server: Server = None, as_json: AsJson = False, data: Data = None
) -> None:
    """Call jobs off, or all of a batch."""
    _order(ids, Where(server, data), _either("cancel"), as_json=as_json)


@app.command()
def retry(
    ids: JobOrBatchIds, server: Server = None, as_json: AsJson = False, data: Data = None
) -> None:
    """Take up failed or cancelled jobs, or all of a batch."""
    _order(ids, Where(server, data), _either("retry"), as_json=as_json)


@app.command()
def hold(ids: JobIds, server: Server = None, as_json: AsJson = False, data: Data = None) -> None:
    """Don't start waiting jobs until they are released."""
    _order(ids, Where(server, data), _verb("hold"), as_json=as_json)


@app.command()
def release(ids: JobIds, server: Server = None, as_json: AsJson = False, data: Data = None) -> None:
    """Let jobs start that were held."""
    _order(ids, Where(server, data), _verb("release"), as_json=as_json)


@app.command()
def front(ids: JobIds, server: Server = None, as_json: AsJson = False, data: Data = None) -> None:
    """Start waiting jobs before all others.

    Of several, the first named goes first.
    """
    # The newest at the front goes first.
    _order(ids[::-1], Where(server, data), _verb("front"), as_json=as_json)


@app.command()
def priority(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")],
    level: Annotated[Priority, typer.Argument(metavar="high|normal|low")],
    server: Server = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Give a waiting job another priority."""
    _order(
        [job],
        Where(server, data),
        lambda client, name: client.prioritize(name, level),
        as_json=as_json,
    )


@app.command("rm")
def remove(ids: JobIds, server: Server = None, data: Data = None) -> None:
    """Forget jobs that have ended, and remove their files."""
    _order(ids, Where(server, data), Client.remove, as_json=False)


def _verb(verb: str) -> Callable[[Client, str], Awaitable[Snapshot]]:
    return lambda client, name: client.command(name, verb)


def _either(verb: str) -> Callable[[Client, str], Awaitable[Snapshot | BatchView]]:
    return lambda client, name: job_or_batch(
        lambda: client.command(name, verb), lambda: client.command_batch(name, verb)
    )


def _order(
    ids: Sequence[str],
    where: Where,
    order: Callable[[Client, str], Awaitable[Snapshot | BatchView | None]],
    *,
    as_json: bool,
) -> None:
    """Have something done to each; one that is refused does not keep the others from it."""

    async def work(terminal: Terminal) -> Exit:
        end = Exit.DONE
        async with connected(where) as client:
            for name in ids:
                try:
                    one = await order(client, name)
                except ApiError as exc:
                    terminal.refused(exc, name if len(ids) > 1 else "")
                    end = refused_exit(exc)
                    continue
                if one is None:
                    terminal.line(f"{name} removed")
                elif as_json:
                    terminal.json(one)
                else:
                    state = one.state if isinstance(one, BatchView) else standing(one)
                    terminal.line(f"{one.id} {state}")
        return end

    carry_out(work)
