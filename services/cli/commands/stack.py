"""``up`` and ``provision``: the local stack, and a broker of one's own."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from msgspec.structs import replace

from services.cli import broker
from services.cli.arguments import Data, Models
from services.cli.config import HTTP_PORT, NATS_PORT, StackConfig
from services.cli.exits import Exit
from services.cli.session import Where
from services.cli.stack import Stack
from services.cli.terminal import Terminal, carry_out
from shared.telemetry import json_log

app = typer.Typer()

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the web server; 0: any.")]
NatsPort = Annotated[int, typer.Option(min=0, max=65535, help="Port of the broker; 0: any.")]
Gateways = Annotated[int, typer.Option(min=1, max=16, help="Gateway processes.")]
Schedulers = Annotated[int, typer.Option(min=1, max=5, help="Schedulers: one acts, others wait.")]
Downloaders = Annotated[int, typer.Option(min=1, max=16, help="Downloader processes.")]
Separators = Annotated[int, typer.Option(min=1, max=64, help="Separator processes.")]
NatsUrl = Annotated[
    str, typer.Option(envvar="STEMBUS_NATS_URL", help="The broker, as its administrator.")
]


@app.command()
def up(
    data: Data = None,
    port: Port = HTTP_PORT,
    nats_port: NatsPort = NATS_PORT,
    gateways: Gateways = 1,
    schedulers: Schedulers = 1,
    downloaders: Downloaders = 1,
    separators: Separators = 1,
    models: Models = None,
) -> None:
    """Run the whole stack on this machine; Ctrl-C stops it."""
    config = replace(
        Where(data=data).stack(),
        port=port,
        nats_port=nats_port,
        gateways=gateways,
        schedulers=schedulers,
        downloaders=downloaders,
        separators=separators,
        models=models.resolve() if models else None,
    )
    carry_out(lambda terminal: _up(terminal, config))


async def _up(terminal: Terminal, config: StackConfig) -> Exit:
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


@app.command()
def provision(nats_url: NatsUrl = "nats://127.0.0.1:4222") -> None:
    """Create on a broker what the services bind to.

    For deployments; safe to run again.
    """
    carry_out(lambda terminal: _provision(terminal, nats_url))


async def _provision(terminal: Terminal, nats_url: str) -> Exit:
    await broker.prepare(nats_url, json_log("provision", "info"))
    terminal.say("The broker has everything the services need.")
    return Exit.DONE
