"""Tells live clients what changes without a record of its own: places, and sums over batches."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.gateway.frames import batch_frame, place_frame
from services.gateway.places import place_of
from shared.actor.stopping import unless_stopped
from shared.contracts.job import Status

if TYPE_CHECKING:
    from services.gateway.feed import Feed
    from services.gateway.overview import Overviews
    from services.gateway.places import Place, Places
    from services.gateway.projection import Projection
    from services.gateway.ring import Ring

#: It is told at most this often, and of so many at once.
TELL_SECONDS: Final = 1.0
TOLD_AT_ONCE: Final = 50
#: A start that is expected this much earlier or later is told.
DRIFT: Final = timedelta(seconds=10)


class News:
    """Tells live clients what changes without a record being written."""

    def __init__(
        self,
        *,
        feed: Feed,
        projection: Projection,
        overviews: Overviews,
        places: Places,
        ring: Ring,
    ) -> None:
        self._feed = feed
        self._projection = projection
        self._overviews = overviews
        self._places = places
        self._ring = ring
        #: Places as they were told last, of those who wait and are among the first.
        self._told: dict[str, Place] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell, every now and then, until ``stopping``."""
        while not stopping.is_set():
            self.tell()
            await unless_stopped(stopping, asyncio.sleep(TELL_SECONDS))

    def tell(self) -> None:
        """Tell what has changed since."""
        self._tell_places()
        self._tell_batches()

    def _tell_places(self) -> None:
        queue = self._places.newest
        first = queue.order[:TOLD_AT_ONCE] if queue else ()
        before, self._told = self._told, {}
        # Who was among the first and is not any more is told, too, if he still waits.
        for job_id in dict.fromkeys((*first, *before)):
            row = self._projection.get(job_id)
            if row is None or row.snapshot.status is not Status.PENDING:
                continue
            seen = self._feed.now(row.snapshot)
            place = place_of(seen)
            if _differs(place, before.get(job_id)):
                self._ring.append(place_frame(seen))
            else:
                place = before[job_id]
            if job_id in first:
                self._told[job_id] = place

    def _tell_batches(self) -> None:
        for batch_id in self._feed.touched(TOLD_AT_ONCE):
            row = self._projection.batch(batch_id)
            if row is not None:
                self._ring.append(batch_frame(None, self._overviews.of(row.snapshot)))


def _differs(place: Place, told: Place | None) -> bool:
    if told is None:
        return True
    if (place.position, place.waits_for) != (told.position, told.waits_for):
        return True
    if place.starts_at is None or told.starts_at is None:
        return place.starts_at != told.starts_at
    return abs(place.starts_at - told.starts_at) >= DRIFT
