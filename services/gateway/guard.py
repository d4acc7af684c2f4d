"""Who may ask: keeps other sites' pages in a user's browser away from a local server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.typedefs import Handler, Middleware

#: In the list of allowed hosts: any.
ALL_HOSTS: Final = "*"
#: Set on a request once its answer's headers are out: no other answer can follow.
BEGUN: Final = web.RequestKey("begun", bool)
#: Methods that change nothing.
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: The page's own modules and pictures, stems and thumbnails; nothing inline, nothing framed.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' https: data:; media-src 'self' blob:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def middleware(allowed_hosts: Collection[str]) -> Middleware:
    """Refuses a foreign Host (DNS rebinding) and, for what changes something, a foreign Origin."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if ALL_HOSTS not in allowed_hosts and _host(f"//{request.host}") not in allowed_hosts:
            raise TerminalError(Code.REQUEST_FORBIDDEN, f"Host: {request.host[:100]}")
        origin = request.headers.get("Origin")
        changes = request.method not in READING
        if changes and origin is not None and origin.partition("://")[2] != request.host:
            raise TerminalError(Code.REQUEST_FORBIDDEN, f"Origin: {origin[:100]}")
        return await handler(request)

    return guard


def _host(url: str) -> str | None:
    """The host that ``url`` names; None if it is no URL."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer tells the browser to keep to; from here on it is being sent."""
    request[BEGUN] = True
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
