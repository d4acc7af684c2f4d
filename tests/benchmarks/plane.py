"""The control plane under test: a broker that syncs, a scheduler, a gateway, and hands."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp

from services.cli import broker
from services.cli.ports import free_port
from shared.telemetry import json_log
from tests.benchmarks.child import GRACE, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from services.cli.supervisor import Supervised

SCHEDULER: Final = "services.scheduler"
GATEWAY: Final = "services.gateway"
#: Workers that answer at once.
HANDS: Final = "tests.benchmarks.hands"
#: Far more than the live benchmark opens.
MAX_STREAMS: Final = 4000
#: Far more than are made to wait: nothing is refused here.
MAX_WAITING: Final = 100_000
_LOOK_SECONDS: Final = 0.01
_SYNCED: Final = "sync_interval: always"
#: The broker's own default: only for filling it before the measurement.
_UNSYNCED: Final = "sync_interval: 2m"


class Plane:
    """Processes over one folder, to be started and stopped in any order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = free_port()
        self._nats_port = free_port()
        self._running: dict[str, Supervised] = {}

    @property
    def url(self) -> str:
        """Where the gateway is, or will be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def nats_url(self) -> str:
        """Where the broker is."""
        return f"nats://127.0.0.1:{self._nats_port}"

    def pid(self, module: str) -> int:
        """The process id of something that runs."""
        pid = self._running[module].pid
        assert pid is not None, module
        return pid

    def pids(self) -> dict[str, int]:
        """Every process, the broker's included, by what it runs."""
        return {module: self.pid(module) for module in self._running}

    async def start_broker(self, *, synced: bool = True, provisioned: bool = True) -> None:
        """The broker, its messages on the disk before it says so, unless told otherwise."""
        conf = broker.write_config(self._folder / "broker", self._nats_port)
        if not synced:
            conf.write_text(conf.read_text().replace(_SYNCED, _UNSYNCED))
        await self._run("broker", [broker.executable(), "-c", str(conf)])
        await _until_open(self._nats_port)
        if provisioned:
            await broker.prepare(self.nats_url, json_log("bench", "error"))

    async def start(self, module: str) -> None:
        """Another process; returns as soon as it has one, long before it can do anything."""
        await self._run(module, [sys.executable, "-m", module])

    async def stop(self, module: str) -> None:
        """An orderly stop."""
        await self._running.pop(module).stop(GRACE)

    async def stop_all(self) -> None:
        """Everything, the broker last."""
        for module in reversed(tuple(self._running)):
            await self.stop(module)

    async def until_ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until the gateway answers."""
        while not await _answers(session, f"{self.url}/v1/jobs?limit=1"):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(_LOOK_SECONDS)

    async def _run(self, name: str, command: list[str]) -> None:
        self._running[name] = await started(self._folder, name, command, self._settings(name))

    def _settings(self, name: str) -> Mapping[str, str]:
        return {
            "STEMBUS_NATS_URL": self.nats_url,
            "STEMBUS_BLOBS_URL": f"file://{self._folder / 'blobs'}",
            "STEMBUS_SCRATCH_DIR": str(self._folder / name),
            "STEMBUS_HTTP_PORT": str(self._port),
            "STEMBUS_MAX_STREAMS": str(MAX_STREAMS),
            "STEMBUS_MAX_WAITING": str(MAX_WAITING),
            "STEMBUS_MAX_WAITING_PER_OWNER": str(MAX_WAITING),
        }


@asynccontextmanager
async def running_plane(folder: Path, *modules: str) -> AsyncIterator[Plane]:
    """A broker, these services, and nothing of them afterwards."""
    async with AsyncExitStack() as stack:
        plane = Plane(folder)
        stack.push_async_callback(plane.stop_all)
        await plane.start_broker()
        for module in modules:
            await plane.start(module)
        if GATEWAY in modules:
            async with new_session() as session:
                await plane.until_ready(session)
        yield plane


def new_session() -> aiohttp.ClientSession:
    """A client that opens as many connections as it is asked to."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _until_open(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            writer.close()
            return


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
