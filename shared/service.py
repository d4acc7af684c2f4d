"""A service's process: its parts run until a signal, then stop in order.

Every service is a handful of parts (hosts, loops, a web server) over shared resources; this
is the one place that knows about signals, health and exit codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from aiohttp import web

from shared.actor.stopping import unless_stopped
from shared.jetstream.connection import connect, flushed
from shared.settings import ServiceConfig, SettingError, read_settings
from shared.telemetry import Telemetry, json_log, tracer_provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.aio.client import Client
    from structlog.typing import FilteringBoundLogger

#: Exit status of a service whose environment can't be used: starting it again won't help.
BAD_SETTING: Final = 2
#: Seconds that the farewell to the broker, and to a trace collector, may take each.
GOODBYE_SECONDS: Final = 2.0

C = TypeVar("C", bound=ServiceConfig)


class Part(Protocol):
    """Something that runs for as long as the service does."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until ``stopping``; then leave in order."""


class Resources:
    """What wiring builds a service from."""

    def __init__(
        self, *, name: str, nc: Client, telemetry: Telemetry, log: FilteringBoundLogger
    ) -> None:
        #: This process among all others of its kind: a subject token.
        self.instance = f"{name}-{secrets.token_hex(4)}"
        self.nc = nc
        self.telemetry = telemetry
        self.log = log
        self.health = Health(self)

    def ready(self) -> bool:
        """Whether the broker is there."""
        return bool(self.nc.is_connected)


def main(
    name: str,
    kind: type[C],
    assemble: Callable[[C, Resources, contextlib.AsyncExitStack], Awaitable[Sequence[Part]]],
) -> None:
    """Run a service until SIGTERM or SIGINT; exit 0 after an orderly stop, 2 on a bad setting."""
    try:
        config = read_settings(kind, os.environ)
    except SettingError as exc:
        print(f"{name}: {exc}", file=sys.stderr)  # noqa: T201 - there is no logger yet
        sys.exit(BAD_SETTING)
    asyncio.run(_serve(name, config, assemble))
    # Everything has been closed in order.  obstore's own threads may still be letting go of
    # Python objects, which aborts an interpreter that is being taken down: don't take it down.
    sys.stderr.flush()
    os._exit(0)


async def _serve(
    name: str,
    config: C,
    assemble: Callable[[C, Resources, contextlib.AsyncExitStack], Awaitable[Sequence[Part]]],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log = json_log(name, config.log_level)
    telemetry = Telemetry(name, tracer_provider(name, os.environ))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_flush, telemetry)
        nc = await unless_stopped(stopping, connect(config.nats_url, name, log))
        if nc is None:
            return
        stack.push_async_callback(_close, nc)
        resources = Resources(name=name, nc=nc, telemetry=telemetry, log=log)
        parts = await unless_stopped(stopping, assemble(config, resources, stack))
        if parts is None:
            return
        watched = HealthServer(resources.health, config.health_host, config.health_port)
        log.info("started", instance=resources.instance)
        async with asyncio.TaskGroup() as group:
            for part in (watched, *parts):
                group.create_task(part.run(stopping))
        log.info("stopped")


async def _flush(telemetry: Telemetry) -> None:
    """Send the last traces; a collector that does not answer is not waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await asyncio.to_thread(telemetry.close)


async def _close(nc: Client) -> None:
    """Send what is waiting to be sent, if the broker is there, and leave."""
    # The broker may be gone, or leave while we say goodbye: nothing can be done about it.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(GOODBYE_SECONDS):
            if nc.is_connected:
                await flushed(nc)
            await nc.close()


class Health:
    """``/health`` (the loop turns), ``/ready`` (the broker is there) and ``/metrics``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def routes(self) -> list[web.RouteDef]:
        """The three routes, for a server of one's own or another's."""
        return [
            web.get("/health", self._health),
            web.get("/ready", self._ready),
            web.get("/metrics", self._metrics),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "instance": self._resources.instance})

    async def _ready(self, _: web.Request) -> web.Response:
        if self._resources.ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "the broker is away"}, status=503)

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self._resources.telemetry.exposition()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})


class HealthServer:
    """Serves a service's health on a port of its own."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve them until ``stopping``."""
        app = web.Application()
        app.add_routes(self._health.routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            await stopping.wait()
        finally:
            await runner.cleanup()
