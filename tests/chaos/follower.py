"""The page of somebody who watches all jobs all the time, as an EventSource does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from tests.chaos.client import AGAIN_SECONDS, AWAY

if TYPE_CHECKING:
    from tests.acceptance.api import Api, Event


class Follower:
    """Follows ``/v1/events``, and comes back with the last id it has seen."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._last: int | None = None
        #: The newest revision shown of each job.
        self.shown: dict[str, int] = {}
        #: How often the line was opened.
        self.connections = 0
        #: What a page must never be shown.
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            # An assertion: the gateway is there, but not ready.
            with suppress(*AWAY, AssertionError):
                self.connections += 1
                async with aclosing(self._api.events(last=self._last)) as events:
                    async for event in events:
                        self._show(event)
            await asyncio.sleep(AGAIN_SECONDS)

    def _show(self, event: Event) -> None:
        if event.kind != "job" or event.id is None:
            return
        if self._last is not None and event.id <= self._last:
            self.wrong.append(f"event {event.id} after {self._last}")
        self._last = event.id
        self.shown[str(event.data["id"])] = event.id
