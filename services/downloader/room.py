"""Room on the disk: no song is begun that would take the last of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.contracts.live import BEAT_SECONDS
from shared.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger


class RoomWatch:
    """Measures now and then, as a part; tells at any time, without waiting for a disk."""

    def __init__(
        self, measure: Callable[[], int | None], *, least: int, log: FilteringBoundLogger
    ) -> None:
        """``measure`` gives the free bytes, or None where nothing tells; may take its time."""
        self._measure = measure
        self._least = least
        self._log = log
        self._low = False

    def ailment(self) -> Code | None:
        """``storage.low`` while there is less room than there must be."""
        return Code.STORAGE_LOW if self._low else None

    async def look(self) -> None:
        """Measure once."""
        free = await asyncio.to_thread(self._measure) if self._least else None
        low = free is not None and free < self._least
        if low and not self._low:
            self._log.warning("too little room: no song is begun", free=free, least=self._least)
        elif self._low and not low:
            self._log.info("there is room again", free=free)
        self._low = low

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        while not stopping.is_set():
            await self.look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), BEAT_SECONDS)
