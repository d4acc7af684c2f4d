"""Keeps the read model's index current, and forgets what nobody needs any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from shared.actor.stopping import unless_stopped
from shared.jetstream.store import MARKER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from services.gateway.projection import Projection
    from services.gateway.search import Search

#: Between two slices of indexing, so that the loop is free most of the time; and when idle.
INDEX_PAUSE_SECONDS: Final = 0.01
INDEX_SECONDS: Final = 0.5
FORGET_EVERY: Final = timedelta(minutes=1)
#: Removals are known for as long as the bucket has their markers.
REMOVALS_KEPT: Final = timedelta(seconds=MARKER_SECONDS)


class Upkeep:
    """What is done now and then."""

    def __init__(
        self, *, projection: Projection, search: Search, now: Callable[[], datetime]
    ) -> None:
        self._projection = projection
        self._search = search
        self._now = now

    async def run(self, stopping: asyncio.Event) -> None:
        """Work in small pieces until ``stopping``."""
        forgotten = self._now()
        while not stopping.is_set():
            more = self._search.index()
            if self._now() >= forgotten + FORGET_EVERY:
                forgotten = self._now()
                self._projection.forget(forgotten - REMOVALS_KEPT)
            pause = INDEX_PAUSE_SECONDS if more else INDEX_SECONDS
            await unless_stopped(stopping, asyncio.sleep(pause))
