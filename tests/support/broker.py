"""A real nats-server for tests: its own folder, a free port, every message synced to the disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Final

import structlog

from services.cli.broker import executable, prepare, write_config
from services.cli.config import LOCALHOST
from services.cli.ports import free_port
from shared.jetstream.connection import connect
from shared.jetstream.topology import provision

if TYPE_CHECKING:
    from pathlib import Path

_QUIET: Final = structlog.wrap_logger(
    structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger("critical")
)


class Broker:
    """A nats-server that can be killed and started again on the same port and folder."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"nats://{LOCALHOST}:{port}"
        self._config = write_config(folder, port)
        self._output = folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and provision it; returns when services could bind."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [executable(), "-c", str(self._config)], stdout=output, stderr=output
            )
        asyncio.run(prepare(self.url, _QUIET))

    def restart(self) -> None:
        """Start the program again; whoever needs it waits for it."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [executable(), "-c", str(self._config)], stdout=output, stderr=output
            )

    def kill(self) -> None:
        """As a power cut would: no goodbye."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)
            self._process.wait(timeout=20)


async def clean(url: str) -> None:
    """As it was after provisioning: what was used is made anew, its memory of ids included."""
    nc = await connect(url, "tests-clean", _QUIET)
    try:
        js = nc.jetstream(timeout=10)
        for stream in await js.streams_info():
            if stream.state.last_seq:
                await js.delete_stream(stream.config.name)
        await provision(js)
    finally:
        await nc.close()
