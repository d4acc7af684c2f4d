"""What is told on the bus and kept nowhere: the queue's order, and workers' heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contracts.codec import Decoder, UndecodableError
from shared.contracts.live import Beat, Queue
from shared.contracts.subjects import ALL_BEATS, QUEUE

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from structlog.typing import FilteringBoundLogger

    from services.gateway.catalogue import Catalogue
    from services.gateway.places import Places
    from services.gateway.workers import Workers


class Rumours:
    """Hands on what is heard; losing one harms nobody, the next one comes soon."""

    def __init__(
        self,
        *,
        nc: Client,
        places: Places,
        catalogue: Catalogue,
        workers: Workers,
        log: FilteringBoundLogger,
    ) -> None:
        self._nc = nc
        self._places = places
        self._catalogue = catalogue
        self._workers = workers
        self._log = log
        self._beats: Decoder[Beat] = Decoder(Beat)
        self._queues: Decoder[Queue] = Decoder(Queue)

    async def start(self) -> None:
        """Listen."""
        await self._nc.subscribe(ALL_BEATS, cb=self._on_beat)
        await self._nc.subscribe(QUEUE, cb=self._on_queue)

    async def _on_beat(self, message: Msg) -> None:
        try:
            beat = self._beats.decode(message.data)
        except UndecodableError as exc:
            self._log.warning("undecodable heartbeat", reason=str(exc))
            return
        self._catalogue.heard(beat)
        self._workers.heard(beat)

    async def _on_queue(self, message: Msg) -> None:
        try:
            self._places.heard(self._queues.decode(message.data))
        except UndecodableError as exc:
            self._log.warning("undecodable queue", reason=str(exc))
