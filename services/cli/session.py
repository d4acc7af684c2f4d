"""The server that a command talks to: the one named, the one that runs here, or one for a while."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from msgspec.structs import replace

from services.cli.answers import UnreachableError
from services.cli.client import Client
from services.cli.config import HTTP_PORT, LOCALHOST, StackConfig, default_data
from services.cli.sources import LOOPBACK
from services.cli.stack import Stack, read_note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.cli.terminal import Terminal


class Where(NamedTuple):
    """What the command line says of the server."""

    server: str | None = None
    data: Path | None = None

    def stack(self) -> StackConfig:
        """The local stack with that data folder."""
        data = self.data.expanduser().resolve() if self.data else default_data()
        return StackConfig(data=data)


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[Client]:
    """A client of a server that is there."""
    url = _known(where) or f"http://{LOCALHOST}:{HTTP_PORT}"
    async with aiohttp.ClientSession() as session:
        client = Client(session, url)
        if not (where.server or await client.healthy()):
            raise UnreachableError(url)
        yield client


@asynccontextmanager
async def connected_or_started(
    terminal: Terminal, where: Where, models: Path | None, *, loopback: bool
) -> AsyncIterator[Client]:
    """A client of a server that is there, or of a stack that runs for the while.

    Who names this very machine (``loopback``) may fetch from it, on a stack of their own.
    """
    async with aiohttp.ClientSession() as session:
        if url := _known(where):
            client = Client(session, url)
            if where.server or await client.healthy():
                yield client
                return
        terminal.say("No stack is running here: starting one for the while…")
        config = replace(
            where.stack(),
            port=0,
            nats_port=0,
            models=models.resolve() if models else None,
            allow_networks=LOOPBACK if loopback else (),
        )
        async with Stack(config, terminal.say) as stack:
            yield Client(session, stack.url)


def _known(where: Where) -> str | None:
    """The address that was named, or the one that a local stack has left; it may be gone."""
    note = read_note(where.stack())
    return where.server or (note.url if note else None)
