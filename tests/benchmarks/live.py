"""From a worker's tick to a thousand live clients, and what they cost the gateway."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
import nats

from shared.contracts.codec import encode
from shared.contracts.live import BEAT_SECONDS, Activity, Beat, Tick
from shared.contracts.subjects import subject_of
from shared.contracts.work import UNIT_SOURCE, Stage
from tests.benchmarks.audience import Audience
from tests.benchmarks.plane import GATEWAY, SCHEDULER, new_session, running_plane
from tests.benchmarks.processes import resident_bytes
from tests.benchmarks.timing import median, percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

    from tests.benchmarks.plane import Plane
    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale

TICKS_A_SECOND: Final = 5
#: What is sent past clients that don't read: far more than their sockets hold.
LONG_TICKS: Final = 400
LONG_NOTE: Final = "x" * 900
LONG_TICKS_A_SECOND: Final = 50
#: Seconds that the end may take to reach everybody.
PATIENCE: Final = 60.0
_DATA: Final = b"data: "
_SENT: Final = b'"note":"sent '
_OVER: Final = b'"status":"cancelled"'
_BEAT: Final = Beat(worker="benchmark", stage=Stage.DOWNLOAD, slots=1, busy=1)


class _Event(msgspec.Struct):
    note: str


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """One job, one worker that ticks, and many who watch."""
    async with (
        running_plane(folder, SCHEDULER, GATEWAY) as plane,
        new_session() as session,
        _worker(plane) as worker,
    ):
        audience = Audience(session, plane.url)
        worker.job = await audience.begun()
        # As a page does it: from the revision on that the list has shown.
        async with session.get(f"{plane.url}/v1/jobs?limit=1") as listed:
            events = f"{plane.url}/v1/events?after={(await listed.json())['revision']}"
        before = resident_bytes(plane.pid(GATEWAY))
        async with _clients(session, events, scale.clients) as delays:
            connected = resident_bytes(plane.pid(GATEWAY))
            for number in range(scale.ticks):
                await worker.tick(number / scale.ticks, f"sent {perf_counter()}")
                await asyncio.sleep(1 / TICKS_A_SECOND)
            await audience.cancel(worker.job)
        what = f"tick → {scale.clients} live clients"
        report.add(f"{what}, p50", median(delays), "ms")
        report.add(f"{what}, p99", percentile(delays, 99), "ms", wanted="≤ 100")
        report.add("ticks that arrived", 100 * len(delays) / scale.clients / scale.ticks, "%")
        each = (connected - before) / scale.clients / 1024
        report.add("gateway's memory for each live client", each, "KiB", wanted="≤ 32")
        worker.job = await audience.begun()
        each = await _stalled(events, worker, plane, scale) / scale.clients / 1024
        report.add("gateway's memory for each that has stopped reading", each, "KiB", wanted="≤ 32")


class _Worker:
    """A downloader as the bus knows it: heartbeats and ticks."""

    def __init__(self, nc: nats.NATS) -> None:
        self._nc = nc
        self.job = ""

    async def beat(self) -> None:
        """For ever: who is not heard of is taken for gone."""
        while True:
            await self._nc.publish(subject_of(_BEAT), encode(_BEAT))
            await asyncio.sleep(BEAT_SECONDS)

    async def tick(self, fraction: float, note: str) -> None:
        tick = Tick(
            job_id=self.job,
            stage=Stage.DOWNLOAD,
            unit=UNIT_SOURCE,
            attempt=1,
            activity=Activity.FETCHING,
            fraction=fraction,
            note=note,
        )
        await self._nc.publish(subject_of(tick), encode(tick))


@asynccontextmanager
async def _worker(plane: Plane) -> AsyncIterator[_Worker]:
    nc = await nats.connect(plane.nats_url)
    worker = _Worker(nc)
    beating = asyncio.create_task(worker.beat())
    try:
        yield worker
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await nc.close()


@asynccontextmanager
async def _clients(
    session: aiohttp.ClientSession, events: str, count: int
) -> AsyncIterator[list[float]]:
    """Many who watch until the job has been called off: milliseconds from each tick to each."""
    delays: list[float] = []
    connected = asyncio.Semaphore(0)

    async def client() -> None:
        async with session.get(events, timeout=None) as answer:
            connected.release()
            async for line in answer.content:
                if _SENT in line:
                    note = msgspec.json.decode(line.removeprefix(_DATA), type=_Event).note
                    delays.append((perf_counter() - float(note.split()[1])) * 1000)
                elif _OVER in line:
                    return

    clients = [asyncio.create_task(client()) for _ in range(count)]
    for _ in clients:
        await connected.acquire()
    yield delays
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*clients)


async def _stalled(events: str, worker: _Worker, plane: Plane, scale: Scale) -> int:
    """Bytes that clients cost the gateway that ask for events and don't read them."""
    before = resident_bytes(plane.pid(GATEWAY))
    address = urlsplit(events)
    request = f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
    sockets: list[socket.socket] = []
    for _ in range(scale.clients):
        one = socket.create_connection((address.hostname, address.port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(request.encode())
        sockets.append(one)
        await asyncio.sleep(0)
    for number in range(LONG_TICKS):
        await worker.tick(1.0, f"{number} {LONG_NOTE}")
        await asyncio.sleep(1 / LONG_TICKS_A_SECOND)
    cost = resident_bytes(plane.pid(GATEWAY)) - before
    for one in sockets:
        one.close()
    return cost
