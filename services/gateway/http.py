"""The web server: which address is answered by whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from services.gateway import guard, problems
from services.gateway.bodies import MAX_BODY
from services.gateway.catalogue import DESCRIPTIONS
from services.gateway.options import stems_of
from shared.contracts.codec import encode
from shared.contracts.models import AUTO
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp.typedefs import Handler
    from structlog.typing import FilteringBoundLogger

    from services.gateway.catalogue import Catalogue
    from services.gateway.config import GatewayConfig
    from services.gateway.sse import Events

STATIC: Final = Path(__file__).parent / "static"
#: Seconds that open requests get to end by themselves when the service stops.
SHUTDOWN_SECONDS: Final = 5.0


class Model(Struct, frozen=True, kw_only=True):
    """One entry of ``GET /v1/models``."""

    name: str
    sources: tuple[str, ...]
    stems: tuple[str, ...]
    #: Whether some separator has it at hand, with nothing to download.
    ready: bool
    origin: str
    description: str


class Models(Struct, frozen=True, kw_only=True):
    """The body of ``GET /v1/models``."""

    default: str
    models: list[Model]


class Server:
    """The gateway's part that listens."""

    def __init__(
        self,
        *,
        config: GatewayConfig,
        routes: Iterable[web.RouteDef],
        events: Events,
        catalogue: Catalogue,
        log: FilteringBoundLogger,
    ) -> None:
        self._config = config
        self._catalogue = catalogue
        self._events = events
        self._log = log
        self._stopping = False
        app = web.Application(
            client_max_size=MAX_BODY,
            middlewares=[
                problems.middleware(log),
                guard.middleware(config.allowed_hosts),
                self._take_nothing_more,
            ],
        )
        app.on_response_prepare.append(guard.add_headers)
        app.add_routes(
            [
                *routes,
                *events.routes(),
                web.get("/v1/models", self._models),
                web.get("/", self._page),
                web.static("/static", STATIC),
            ]
        )
        self._app = app

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping``; then end the live streams and let requests finish."""
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._config.http_host, self._config.http_port)
            await site.start()
            self._log.info("listening", host=self._config.http_host, port=self._config.http_port)
            await stopping.wait()
        finally:
            self._stopping = True
            self._events.close()
            await runner.cleanup()

    @web.middleware
    async def _take_nothing_more(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Who stops lets nobody begin anything: the next gateway takes it."""
        if self._stopping and request.method not in guard.READING:
            raise RetryableError(Code.SERVICE_UNAVAILABLE, "this server is stopping")
        return await handler(request)

    async def _models(self, _: web.Request) -> web.Response:
        offers = self._catalogue.offers().values()
        models = [
            Model(
                name=offer.name,
                sources=offer.sources,
                stems=stems_of(offer),
                ready=offer.ready,
                origin=offer.origin,
                description=DESCRIPTIONS.get(offer.name, ""),
            )
            for offer in offers
        ]
        body = encode(Models(default=AUTO, models=models))
        return web.Response(body=body, content_type="application/json")

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})
