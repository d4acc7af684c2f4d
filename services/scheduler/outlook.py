"""Tells the gateways in which order jobs will have their turns, at a bearable pace."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.contracts.live import Queue

#: Two tellings come no closer than this, and no farther apart than that, changed or not: a
#: gateway that has just begun must learn it, too.
CLOSEST_SECONDS: Final = 1.0
FARTHEST_SECONDS: Final = 5.0


class Outlook:
    """Sends the queue when it has changed."""

    def __init__(
        self, *, send: Callable[[Queue], Awaitable[None]], steady: Callable[[], float]
    ) -> None:
        self._send = send
        self._steady = steady
        self._told: Queue | None = None
        self._at = float("-inf")

    async def tell(self, queue: Callable[[], Queue]) -> None:
        """Send what ``queue`` gives, unless it was sent just now or has not changed."""
        now = self._steady()
        if now < self._at + CLOSEST_SECONDS:
            return
        newest = queue()
        told = self._told
        unchanged = told is not None and replace(newest, at=told.at) == told
        if unchanged and now < self._at + FARTHEST_SECONDS:
            return
        self._told, self._at = newest, now
        with suppress(ConnectionError):  # it may be lost
            await self._send(newest)
