"""A site whose song stops half-way until a test lets it go on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.acceptance.api import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Gate:
    """The gate, and where the song is."""

    def __init__(self) -> None:
        self.url = ""
        self._halfway = asyncio.Event()
        #: Set it to let everybody have all of it.
        self.open = asyncio.Event()

    def reach(self) -> None:
        """Somebody has read half of the song and waits for the rest."""
        self._halfway.set()

    async def reached(self) -> None:
        """Wait for that."""
        async with asyncio.timeout(PATIENCE):
            await self._halfway.wait()


@asynccontextmanager
async def gated(song: Path) -> AsyncIterator[Gate]:
    """Serve ``song`` up to its middle, and the rest once the gate is open."""
    gate = Gate()
    data = await asyncio.to_thread(song.read_bytes)

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        response.content_length = len(data)
        await response.prepare(request)
        if request.method != "HEAD":
            middle = len(data) // 2
            await response.write(data[:middle])
            gate.reach()
            await gate.open.wait()
            await response.write(data[middle:])
        return response

    app = web.Application()
    app.router.add_get("/song.mp3", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        gate.url = f"http://{host}:{port}/song.mp3"
        yield gate
    finally:
        gate.open.set()
        await runner.cleanup()
