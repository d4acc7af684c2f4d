"""Bodies of requests and of answers: JSON, and no more of it than is bearable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from services.gateway.requests import parse
from shared.contracts.codec import encode
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.gateway.requests import R

#: Largest body of any request but an upload or a batch.
MAX_BODY: Final = 64 << 10
#: Seconds that a request's body may take to arrive.
BODY_SECONDS: Final = 15.0


class NotYet(Struct, frozen=True):
    """The body of a 202: stored, but the scheduler has not answered yet."""

    id: str


async def read(request: web.Request, kind: type[R], limit: int = MAX_BODY) -> R:
    """What a request's body says; one that does not come is not waited for."""
    if request.content_type != "application/json":
        raise TerminalError(Code.REQUEST_UNACCEPTABLE, "Content-Type: application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > limit:
                    raise TerminalError(Code.REQUEST_TOO_LARGE, f"at most {limit} bytes")
    except TimeoutError as exc:
        raise RetryableError(Code.SOURCE_STALLED, "the request's body did not come") from exc
    return parse(bytes(body), kind)


def answer(status: int, body: Struct, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer with a JSON body, which no cache keeps."""
    return web.Response(
        status=status,
        body=encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
