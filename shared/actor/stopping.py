"""Doing something until it is done or the service stops, whichever comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def unless_stopped(stopping: asyncio.Event, doing: Awaitable[T]) -> T | None:
    """What ``doing`` gives, or None if the stop comes first; then it has been cancelled."""
    task = asyncio.ensure_future(doing)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)
