"""The heartbeat of a worker: who is there, with how many slots, how fast."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from shared.contracts.live import BEAT_SECONDS, Beat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Heart:
    """Sends what ``describe`` returns, every ``BEAT_SECONDS`` and once more when leaving."""

    def __init__(
        self, describe: Callable[[], Beat], send: Callable[[Beat], Awaitable[None]]
    ) -> None:
        self._describe = describe
        self._send = send

    async def run(self, stopping: asyncio.Event) -> None:
        """Beat until ``stopping``."""
        while not stopping.is_set():
            with suppress(ConnectionError):
                await self._send(self._describe())
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), BEAT_SECONDS)
        with suppress(ConnectionError):
            await self._send(msgspec.structs.replace(self._describe(), leaving=True))
