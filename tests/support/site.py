"""A small web site for tests: media files, and everything that can go wrong with a site.

It runs in a thread of its own with its own event loop, so that blocking clients can be tested
against it too.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from tests.support.media import picture

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """The site's address, and what has been asked of it."""

    def __init__(self, base: str) -> None:
        #: ``http://127.0.0.1:port``
        self.base = base
        #: The same site at an address that its visitors must not go to.
        self.elsewhere = ""
        #: Paths of all requests, in order.
        self.asked: list[str] = []
        #: Set while a stalling response is being read by someone.
        self.stalling = threading.Event()


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Serve ``folder`` under ``/media/``, and the misbehaving pages beside it."""
    loop = asyncio.new_event_loop()
    site = Site("")
    runner = web.AppRunner(_app(folder, site), shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await web.TCPSite(runner, "127.0.0.2", 0).start()

    loop.run_until_complete(start())
    site.base, site.elsewhere = (f"http://{host}:{port}" for host, port in runner.addresses)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        asyncio.run_coroutine_threadsafe(_stop(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(runner: web.AppRunner) -> None:
    await runner.cleanup()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _app(folder: Path, site: Site) -> web.Application:
    @web.middleware
    async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
        site.asked.append(request.path)
        return await handler(request)

    async def covered_elsewhere(request: web.Request) -> web.StreamResponse:
        return await _page(_VIDEO.format(f"{site.elsewhere}/elsewhere.jpg"))(request)

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(folder / "cover.jpg")

    async def stall(request: web.Request) -> web.StreamResponse:
        """Half of an announced file, then nothing, for ever."""
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        response.content_length = 1_000_000
        await response.prepare(request)
        await response.write(b"\xff" * 65_536)
        site.stalling.set()
        try:
            await asyncio.Event().wait()
        finally:
            site.stalling.clear()
        return response  # never reached: the client leaves first

    app = web.Application(middlewares=[noted])
    app.router.add_static("/media/", folder)
    app.add_routes(
        [
            web.get("/stall.mp3", stall),
            web.get("/endless.mp3", _endless("audio/mpeg")),
            web.get("/endless.html", _endless("text/html")),
            web.get("/empty.html", _page("<p>Nothing to hear here.</p>")),
            web.get("/song.html", _page('<audio src="/media/song.mp3"></audio>')),
            web.get(
                "/songs.html",
                _page('<audio src="/media/song.mp3"></audio><audio src="/media/b.mp3"></audio>'),
            ),
            web.get(
                "/long-songs.html",
                _page('<audio src="/media/song.mp3"></audio><audio src="/stall.mp3"></audio>'),
            ),
            web.get("/internal.html", _page('<audio src="http://10.0.0.7/a.mp3"></audio>')),
            web.get("/covered.html", _page(_VIDEO.format("/media/cover.jpg"))),
            web.get("/long-cover.html", _page(_VIDEO.format("/endless.jpg"))),
            web.get("/inward-cover.html", covered_elsewhere),
            web.get("/elsewhere.jpg", elsewhere),
            web.get("/no-cover.html", _page(_VIDEO.format("/status/404"))),
            web.get("/false-cover.html", _page(_VIDEO.format("/media/song.mp3"))),
            web.get("/endless.jpg", _endless("image/jpeg")),
            web.get("/trickle.jpg", _trickle),
            web.get("/live.m3u8", _live),
            web.get("/status/{status}", _status),
            web.get("/redirect", _redirect),
        ]
    )
    return app


#: How what never ends begins: as what it says it is.
_BEGINNINGS: Final = {
    "text/html": b"<html><body>",
    "audio/mpeg": b"\xff\xfb",
    "image/jpeg": picture(),
}
#: A song with a picture.
_VIDEO: Final = '<video src="/media/song.mp3" poster="{}"></video>'


def _page(body: str) -> Handler:
    async def page(_: web.Request) -> web.StreamResponse:
        text = f"<!doctype html><html><head><title>A page</title></head><body>{body}</body></html>"
        return web.Response(text=text, content_type="text/html")

    return page


async def _trickle(request: web.Request) -> web.StreamResponse:
    """A byte now and then, for ever."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b"\xff")
            await asyncio.sleep(0.2)
    return response


def _endless(content_type: str) -> Handler:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write(_BEGINNINGS[content_type])
        with suppress(ConnectionError):  # the only way in which it ends
            while True:
                await response.write(b"a" * 65_536)
        return response

    return endless


async def _live(_: web.Request) -> web.StreamResponse:
    """A playlist that does not say that it ends."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\n/part7.ts\n"
    return web.Response(text=text, content_type="application/vnd.apple.mpegurl")


async def _status(request: web.Request) -> web.StreamResponse:
    headers = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    return web.Response(status=int(request.match_info["status"]), headers=headers)


async def _redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": request.query["to"]})
