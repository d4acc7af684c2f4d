"""Writing to a client that may have stopped reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


async def write(
    request: web.Request, response: web.StreamResponse, data: bytes, stall_seconds: float
) -> None:
    """Write ``data``; ConnectionResetError, and an end to the connection, if it takes too long."""
    try:
        async with asyncio.timeout(stall_seconds):
            await response.write(data)
    except TimeoutError as exc:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client has stopped reading") from exc
