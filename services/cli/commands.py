"""What the subcommands do."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from enum import IntEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from msgspec.structs import replace
from rich.console import Console

from services.cli import broker
from services.cli.client import ApiError, Client, UnreachableError
from services.cli.show import event_line, job_table, problem_text, progress_of, song
from services.cli.stack import Stack, StackError, read_note
from shared.contracts.codec import encode
from shared.contracts.job import Status
from shared.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from services.cli.config import StackConfig
    from shared.contracts.snapshot import Snapshot

#: This machine's own addresses.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    #: The job failed, or the server refused.
    FAILED = 1
    #: The command line itself is wrong (typer's own).
    USAGE = 2
    #: No server answers, or the stack can't be started.
    NO_SERVER = 3
    CANCELLED = 4
    #: Ctrl-C.
    INTERRUPTED = 130


class Terminal:
    """Where the commands say things: results on standard output, all else on standard error."""

    def __init__(self) -> None:
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """A line for the person."""
        self.err.print(text, markup=False)


def run(terminal: Terminal, command: Callable[[], Awaitable[Exit]]) -> Exit:
    """Run a command to its end; failures it can name become words and an exit code."""
    try:
        return asyncio.run(_interruptible(command))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return Exit.INTERRUPTED
    except ApiError as exc:
        terminal.err.print(problem_text(exc.problem))
        return Exit.FAILED
    except UnreachableError as exc:
        terminal.say(f"No server answers at {exc}. Start one with: stembus up")
        return Exit.NO_SERVER
    except StackError as exc:
        terminal.say(str(exc))
        return Exit.NO_SERVER


async def _interruptible(command: Callable[[], Awaitable[Exit]]) -> Exit:
    """SIGTERM and Ctrl-C cancel the command, so that what it started is stopped in order."""
    task = asyncio.ensure_future(command())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


async def up(terminal: Terminal, config: StackConfig) -> Exit:
    """Run the stack until it is told to stop."""
    terminal.say("Starting…")
    try:
        async with Stack(config, terminal.say) as stack:
            terminal.say(f"Stembus is at {' and '.join(stack.gateways)}")
            terminal.say(f"  broker {stack.nats_url} (look in with: nats sub '>')")
            terminal.say(f"  data   {config.data}")
            for name, url in stack.health.items():
                terminal.say(f"  {name:<12} {url}/metrics")
            terminal.say("Ctrl-C stops it.")
            try:
                await asyncio.Event().wait()
            finally:
                terminal.say("Stopping…")
    except asyncio.CancelledError:
        return Exit.DONE
    return Exit.DONE


async def provision(terminal: Terminal, nats_url: str) -> Exit:
    """Create streams, buckets and consumers on a broker."""
    await broker.prepare(nats_url, json_log("provision", "info"))
    terminal.say("The broker has everything the services need.")
    return Exit.DONE


async def separate(
    terminal: Terminal,
    config: StackConfig,
    server: str | None,
    source: str,
    out: Path,
    options: tuple[str, Sequence[str], str],
    *,
    as_json: bool,
) -> Exit:
    """Send a song, follow it, save its stems."""
    path = None if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) else Path(source).expanduser()
    if path is not None and not path.is_file():
        terminal.say(f"{source}: there is no such file, and it is not a URL")
        return Exit.USAGE
    if path is None and is_loopback(source):
        # Who names this very machine may fetch from it, on a stack of their own.
        config = replace(config, allow_networks=LOOPBACK)
    async with _client(terminal, config, server, may_start=True) as client:
        given = {"upload": await client.upload(path)} if path else {"url": source}
        job_id = await client.submit(given, *options)
        try:
            job = await _follow(terminal, client, job_id)
        except asyncio.CancelledError:
            with contextlib.suppress(ApiError, UnreachableError):
                await client.command(job_id, "cancel")
            raise
        if job.status is Status.COMPLETED:
            for path in await _save(client, job, out):
                (terminal.err if as_json else terminal.out).print(
                    str(path), soft_wrap=True, markup=False
                )
            model = job.separation.model if job.separation else job.options.model
            terminal.say(f"Separated {song(job)} with the model {model} into {out}")
        elif job.error is not None:
            terminal.err.print(problem_text(job.error))
        if as_json:
            terminal.out.file.write(encode(job).decode() + "\n")
    return _exit_of(job)


async def _follow(terminal: Terminal, client: Client, job_id: str) -> Snapshot:
    with progress_of(terminal.err) as line:
        async for event in client.events(job_id):
            line.show(event)
            if event.job is not None and event.job.status.terminal:
                return event.job
    return await client.job(job_id)


async def _save(client: Client, job: Snapshot, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"{stem.name}.{job.options.format}" for stem in job.stems]
    for stem, path in zip(job.stems, paths, strict=True):
        await client.download(job, stem.name, path)
    return paths


async def jobs(terminal: Terminal, config: StackConfig, server: str | None, limit: int) -> Exit:
    """List the newest jobs."""
    async with _client(terminal, config, server) as client:
        terminal.out.print(job_table((await client.jobs(limit)).jobs))
    return Exit.DONE


async def watch(
    terminal: Terminal, config: StackConfig, server: str | None, job_id: str | None
) -> Exit:
    """Print live events, of one job until it has ended or of all."""
    async with _client(terminal, config, server) as client:
        if job_id is not None:
            await client.job(job_id)
        async for event in client.events(job_id):
            line = event_line(event)
            if line is not None:
                terminal.out.print(line, soft_wrap=True)
        return _exit_of(await client.job(job_id)) if job_id else Exit.DONE


async def command(
    terminal: Terminal, config: StackConfig, server: str | None, job_id: str, verb: str
) -> Exit:
    """``cancel`` or ``retry`` a job."""
    async with _client(terminal, config, server) as client:
        job = await client.command(job_id, verb)
        terminal.out.print(f"{job.id} {job.status.value}", markup=False)
    return Exit.DONE


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine itself, by address or as localhost."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.asynccontextmanager
async def _client(
    terminal: Terminal, config: StackConfig, server: str | None, *, may_start: bool = False
) -> AsyncIterator[Client]:
    """A client of the server named, or of the one that runs here, or of one for the while."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
    ) as session:
        note = read_note(config)
        url = server or (note.url if note else f"http://127.0.0.1:{config.port}")
        client = Client(session, url)
        if server or await client.healthy():
            yield client
        elif may_start:
            terminal.say("No stack is running here: starting one for the while…")
            async with Stack(config, terminal.say) as stack:
                yield Client(session, stack.url)
        else:
            raise UnreachableError(url)


def _exit_of(job: Snapshot) -> Exit:
    if job.status is Status.CANCELLED:
        return Exit.CANCELLED
    return Exit.FAILED if job.status is Status.FAILED else Exit.DONE
