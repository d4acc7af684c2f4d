"""A line between the browser and the gateway that can be cut, and a song that can be held back."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Line:
    """Forwards bytes both ways; keeps what the browser has sent."""

    def __init__(self, host: str, port: int) -> None:
        #: Where the browser shall go.
        self.url = ""
        self._gateway = (host, port)
        self._sent = bytearray()
        self._cut = False
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def last_event_ids(self) -> list[int]:
        """The ``Last-Event-ID`` headers that went over the line, in order."""
        found = re.findall(rb"(?im)^last-event-id: *(\d+)\r$", self._sent)
        return [int(number) for number in found]

    def cut(self) -> None:
        """End every connection, and every new one at once."""
        self._cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Let new connections through."""
        self._cut = False

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from the browser."""
        if self._cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._gateway)
        both = {writer, back}
        self._open |= both
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(reader, back, keep=True))
                ways.create_task(self._pump(there, writer, keep=False))
        finally:
            self._open -= both

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                if keep:
                    self._sent += piece
                writer.write(piece)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def line_to(address: str) -> AsyncIterator[Line]:
    """A line to the server at ``address``."""
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    line = Line(parts.hostname, parts.port)
    server = await asyncio.start_server(line.forward, "127.0.0.1", 0)
    line.url = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    try:
        async with server:
            yield line
            line.cut()
    finally:
        line.cut()


class HeldSong:
    """A song on a site of its own, whose second half comes when it is told to."""

    def __init__(self, song: bytes) -> None:
        #: Its address.
        self.url = ""
        #: Lets the second half go.
        self.release = asyncio.Event()
        self._song = song

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The first half at once, the second half after ``release``."""
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        response.content_length = len(self._song)
        await response.prepare(request)
        half = len(self._song) // 2
        with suppress(ConnectionError):
            await response.write(self._song[:half])
            await self.release.wait()
            await response.write(self._song[half:])
        return response


@asynccontextmanager
async def held_song(song: bytes, name: str) -> AsyncIterator[HeldSong]:
    """Serve ``song`` under ``/name``, half of it."""
    held = HeldSong(song)
    app = web.Application()
    app.router.add_get(f"/{name}", held.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        held.url = f"http://{host}:{port}/{name}"
        yield held
    finally:
        held.release.set()
        await runner.cleanup()
