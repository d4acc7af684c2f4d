"""How fast the control plane is: ``python -m tests.benchmarks.control_plane [--json FILE]``.

Real broker (fsync always), real scheduler and gateway processes; the benchmark plays the
clients, and the one worker that ticks.  Numbers are for the machine that it names; no test
depends on them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

import aiohttp
import nats
from rich.console import Console
from rich.table import Table

from services.cli import broker
from services.cli.supervisor import Supervised
from shared.contracts.codec import encode
from shared.contracts.live import Activity, Beat, Tick
from shared.contracts.subjects import subject_of
from shared.contracts.work import Stage
from shared.telemetry import json_log

CLIENTS: Final = 1000
SUBMITS: Final = 1000
SUBMITS_A_SECOND: Final = 100
TICKS: Final = 50
TICKS_A_SECOND: Final = 5
WORKER: Final = "benchmark"

Row = tuple[str, float, str, str]


class Bench:
    """The stack under test and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = broker.free_port()
        self.nats_port = broker.free_port()
        self.gateway: Supervised | None = None
        self.session: aiohttp.ClientSession | None = None
        self.rows: list[Row] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, stack: AsyncExitStack) -> None:
        conf = broker.write_config(self.folder / "broker", self.nats_port)
        await self._run(stack, "broker", [broker.executable(), "-c", str(conf)])
        await broker.prepare(f"nats://127.0.0.1:{self.nats_port}", json_log("bench", "error"))
        for name in ("scheduler", "gateway"):
            service = await self._run(stack, name, [sys.executable, "-m", f"services.{name}"])
            self.gateway = service
        self.session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        while True:
            try:
                async with self.session.get(f"{self.url}/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)

    async def _run(self, stack: AsyncExitStack, name: str, command: list[str]) -> Supervised:
        service = Supervised(
            name=name,
            command=command,
            environment={
                **os.environ,
                "STEMBUS_NATS_URL": f"nats://127.0.0.1:{self.nats_port}",
                "STEMBUS_BLOBS_URL": f"file://{self.folder / 'blobs'}",
                "STEMBUS_SCRATCH_DIR": str(self.folder / name),
                "STEMBUS_HTTP_PORT": str(self.port),
                "STEMBUS_MAX_STREAMS": str(4 * CLIENTS),
            },
            log=self.folder / f"{name}.log",
            on_death=_died,
        )
        await service.start()
        stack.push_async_callback(service.stop, 10)
        return service

    def add(self, what: str, value: float, unit: str, wanted: str) -> None:
        self.rows.append((what, round(value, 2), unit, wanted))

    def gateway_bytes(self) -> int:
        pid = self.gateway.pid if self.gateway else None
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise LookupError("VmRSS")

    async def submit(self, body: dict[str, object]) -> str:
        assert self.session is not None
        async with self.session.post(f"{self.url}/v1/jobs", json=body) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def submits(self) -> None:
        """Offered at a steady rate, whatever the answers do: no coordinated omission."""
        times: list[float] = []
        body = {"source": {"url": "http://example.org/a"}, "run_at": "2100-01-01T00:00:00Z"}

        async def one(due: float) -> None:
            await asyncio.sleep(due - monotonic())
            await self.submit(dict(body))
            times.append((monotonic() - due) * 1000)

        begin = monotonic() + 0.5
        async with asyncio.TaskGroup() as group:
            for number in range(SUBMITS):
                group.create_task(one(begin + number / SUBMITS_A_SECOND))
        self.add(f"submit → 201 at {SUBMITS_A_SECOND}/s, p50", statistics.median(times), "ms", "")
        self.add("the same, p99", _percentile(times, 99), "ms", "≤ 25")

    async def live(self) -> None:
        """A worker's tick to all clients, and what clients cost."""
        assert self.session is not None
        nc = await nats.connect(f"nats://127.0.0.1:{self.nats_port}")
        beat = Beat(worker=WORKER, stage=Stage.DOWNLOAD, slots=1, busy=1)
        await nc.publish(subject_of(beat), encode(beat))
        job = await self.submit({"source": {"url": "http://example.org/live"}})
        # As a page does it: from the revision on that the list has shown.
        async with self.session.get(f"{self.url}/v1/jobs?limit=1") as listed:
            events = f"/v1/events?after={(await listed.json())['revision']}"
        before = self.gateway_bytes()
        delays: list[float] = []
        ready = asyncio.Semaphore(0)
        finished = asyncio.Semaphore(0)

        async def client() -> None:
            assert self.session is not None
            seen = 0
            async with self.session.get(f"{self.url}{events}", timeout=None) as answer:
                ready.release()
                async for line in answer.content:
                    if line.startswith(b"data: ") and b'"note":"sent ' in line:
                        sent = float(json.loads(line[6:])["note"].split()[1])
                        delays.append((perf_counter() - sent) * 1000)
                        seen += 1
                        if seen == TICKS:
                            finished.release()
                            return

        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        for _ in clients:
            await ready.acquire()
        connected = self.gateway_bytes()
        for number in range(TICKS):
            await nc.publish(subject_of(beat), encode(beat))
            tick = Tick(
                job_id=job,
                stage=Stage.DOWNLOAD,
                unit="source",
                attempt=1,
                activity=Activity.FETCHING,
                fraction=number / TICKS,
                note=f"sent {perf_counter()}",
            )
            await nc.publish(subject_of(tick), encode(tick))
            await asyncio.sleep(1 / TICKS_A_SECOND)
        async with asyncio.timeout(60):
            for _ in clients:
                await finished.acquire()
        self.add(f"tick → {CLIENTS} clients, p50", statistics.median(delays), "ms", "")
        self.add("the same, p99", _percentile(delays, 99), "ms", "≤ 100")
        each = (connected - before) / CLIENTS / 1024
        self.add("gateway memory for each client", each, "KiB", "≤ 32")
        await asyncio.gather(*clients)
        await self._stalled(nc, job, events)
        await nc.close()

    async def _stalled(self, nc: nats.NATS, job: str, events: str) -> None:
        before = self.gateway_bytes()
        sockets: list[socket.socket] = []
        for _ in range(CLIENTS):
            one = socket.create_connection(("127.0.0.1", self.port))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(f"GET {events} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            sockets.append(one)
            await asyncio.sleep(0)
        for number in range(400):
            tick = Tick(
                job_id=job,
                stage=Stage.DOWNLOAD,
                unit="source",
                attempt=1,
                activity=Activity.FETCHING,
                fraction=1.0,
                note=f"{number} " + "x" * 900,
            )
            await nc.publish(subject_of(tick), encode(tick))
            await asyncio.sleep(0.02)
        each = (self.gateway_bytes() - before) / CLIENTS / 1024
        self.add("the same, for one that has stopped reading", each, "KiB", "≤ 32")
        for one in sockets:
            one.close()


def _died(name: str, code: int) -> None:
    raise AssertionError(f"{name} ended with {code}")


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def machine() -> str:
    """What the numbers are for."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


async def run() -> list[Row]:
    """All measurements, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        async with AsyncExitStack() as stack:
            await bench.start(stack)
            await bench.submits()
            await bench.live()
        return bench.rows


def main() -> None:
    """Measure, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = asyncio.run(run())
    table = Table("what", "value", "unit", "wanted", title=machine())
    for what, value, unit, wanted in rows:
        table.add_row(what, f"{value:.2f}", unit, wanted)
    Console().print(table)
    if arguments.json:
        found = [
            {"what": what, "value": value, "unit": unit, "wanted": wanted}
            for what, value, unit, wanted in rows
        ]
        text = json.dumps({"machine": machine(), "rows": found}, indent=2, ensure_ascii=False)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
