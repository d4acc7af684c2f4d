"""The whole stack on this machine: the broker and the four services, data in one folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import msgspec
from msgspec import Struct

from services.cli import broker
from services.cli.config import LOCALHOST, StackConfig
from services.cli.ports import Ports
from services.cli.supervisor import Supervised
from shared.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import TextIOWrapper

#: Seconds that everything may take to be ready.
START_SECONDS: Final = 60.0
#: Seconds that a service gets to stop by itself, and the broker after the services.
SERVICE_GRACE: Final = 15.0
BROKER_GRACE: Final = 5.0
#: Seconds between looks for a broker that was just started: it takes less than a tenth.
BROKER_PAUSE: Final = 0.02
#: A service's own grace: shorter, so that it hands its work back before it is killed.
WORK_GRACE: Final = 5.0


class StackError(Exception):
    """The stack can't be started here; the message says why."""


class Note(Struct, frozen=True):
    """Where the running stack is; lies in its data folder."""

    pid: int
    url: str
    nats_url: str


def read_note(config: StackConfig) -> Note | None:
    """Where a stack with this data folder says that it is; it may be gone."""
    try:
        return msgspec.json.decode(config.note.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None


class Stack:
    """A local stack from start to stop; use it as an async context manager."""

    def __init__(self, config: StackConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._lock: TextIOWrapper | None = None
        self._ports = Ports()
        self._broker: Supervised | None = None
        self._services: list[Supervised] = []
        self._stopping = False
        self.nats_url = ""
        #: Where each gateway listens; ``url`` is that of the first.
        self.gateways: list[str] = []
        #: Where each service shows /health, /ready and /metrics.
        self.health: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where it is to be asked."""
        return self.gateways[0]

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _start(self) -> None:
        config = self._config
        config.logs.mkdir(parents=True, exist_ok=True)
        lock = (config.data / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.close()
            raise StackError(f"a stack is running with {config.data} already") from exc
        self._lock = lock
        port = self._ports.take(config.port)
        if config.port not in {0, port}:
            raise StackError(f"port {config.port} is taken; choose another with --port")
        nats_port = self._ports.take(config.nats_port)
        self.nats_url = f"nats://{LOCALHOST}:{nats_port}"
        conf = broker.write_config(config.data / "broker", nats_port)
        self._broker = self._supervised("broker", [broker.executable(), "-c", str(conf)], {})
        await self._broker.start()
        try:
            async with asyncio.timeout(START_SECONDS):
                log = json_log("stack", "error")
                await broker.prepare(self.nats_url, log, pause=BROKER_PAUSE)
                if self._broker.deaths:  # whoever answered was another stack's
                    raise StackError(f"the broker does not start; see {config.logs}/broker.log")
                await self._start_services(port)
                await self._until_ready()
        except TimeoutError as exc:
            raise StackError(f"the stack did not come up; see {config.logs}") from exc
        config.note.write_bytes(msgspec.json.encode(Note(os.getpid(), self.url, self.nats_url)))

    async def _start_services(self, port: int) -> None:
        config = self._config
        names = [  # who takes longest, first
            *_numbered("separator", config.separators),
            *_numbered("scheduler", config.schedulers),
            *_numbered("gateway", config.gateways),
            *_numbered("downloader", config.downloaders),
        ]
        for name in names:
            service = name.partition("-")[0]
            scratch = config.data / "scratch" / name
            scratch.mkdir(parents=True, exist_ok=True)
            health_port = self._ports.take()
            self.health[name] = f"http://{LOCALHOST}:{health_port}"
            own = {"STEMBUS_SCRATCH_DIR": str(scratch), "STEMBUS_HEALTH_PORT": str(health_port)}
            if service == "gateway":
                # The first gateway has the port that was asked for; any will do for the others.
                http_port = self._ports.take() if self.gateways else port
                self.gateways.append(f"http://{LOCALHOST}:{http_port}")
                own["STEMBUS_HTTP_PORT"] = str(http_port)
            if service == "separator":
                own |= threads_of(config.separators, len(os.sched_getaffinity(0)), os.environ)
            # No console script between us and the service: signals reach it directly.
            command = [sys.executable, "-m", f"services.{service}"]
            self._services.append(self._supervised(name, command, self._environment() | own))
        await asyncio.gather(*(service.start() for service in self._services))

    def _environment(self) -> dict[str, str]:
        config = self._config
        shared = {
            "STEMBUS_NATS_URL": self.nats_url,
            "STEMBUS_GRACE_SECONDS": str(WORK_GRACE),
            "STEMBUS_HTTP_HOST": LOCALHOST,
            "STEMBUS_ALLOWED_HOSTS": "127.0.0.1,localhost,::1",
        }
        if config.allow_networks:
            listed = (os.environ.get("STEMBUS_ALLOW_NETWORKS", ""), *config.allow_networks)
            shared["STEMBUS_ALLOW_NETWORKS"] = ",".join(filter(None, listed))
        if config.models is not None:
            shared["STEMBUS_MODELS_DIR"] = str(config.models)
        local = {"STEMBUS_BLOBS_URL": f"file://{config.data / 'blobs'}"}
        return {**local, **os.environ, **shared}

    def _supervised(self, name: str, command: list[str], environment: dict[str, str]) -> Supervised:
        return Supervised(
            name=name,
            command=command,
            environment=environment or dict(os.environ),
            log=self._config.logs / f"{name}.log",
            on_death=self._on_death,
        )

    def _on_death(self, name: str, code: int) -> None:
        if not self._stopping:
            self._say(
                f"{name} {_how(code)}; starting it again (see {self._config.logs / name}.log)"
            )

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            for url in (*self.gateways, *self.health.values()):
                while not await _is_ready(session, url):  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(0.05)

    async def _stop(self) -> None:
        self._stopping = True
        if self._lock is None:  # the note is that of the stack that has the lock
            return
        self._config.note.unlink(missing_ok=True)
        await asyncio.gather(*(service.stop(SERVICE_GRACE) for service in self._services))
        if self._broker is not None:
            await self._broker.stop(BROKER_GRACE)
        self._lock.close()
        self._ports.close()


def threads_of(separators: int, cores: int, environ: Mapping[str, str]) -> dict[str, str]:
    """What each of so many separators is told of its threads, unless the user has said it.

    Each would take all cores for itself, and they would wait for each other.
    """
    if separators == 1 or "STEMBUS_TORCH_THREADS" in environ:
        return {}
    return {"STEMBUS_TORCH_THREADS": str(max(1, cores // separators))}


def _numbered(service: str, count: int) -> list[str]:
    return [f"{service}-{number}" for number in range(1, count + 1)]


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready") as answer:
            return answer.status == 200  # noqa: PLR2004 - HTTP's OK
    except (aiohttp.ClientError, TimeoutError):
        return False


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exited {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-code}"
