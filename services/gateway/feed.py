"""Keeps the read model and the ring current with what the scheduler writes and tells.

Snapshots come republished over core NATS, which may lose some: revisions are the bucket's
sequence, so a gap shows, and what is missing is read from the bucket.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from services.gateway.core import current
from services.gateway.ring import Frame
from shared.actor.stopping import unless_stopped
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.job import Job
from shared.contracts.live import Beat, Progress
from shared.contracts.snapshot import snapshot
from shared.contracts.subjects import ALL_BEATS, ALL_PROGRESS, ALL_RECORDS
from shared.jetstream.connection import until_connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from structlog.typing import FilteringBoundLogger

    from services.gateway.catalogue import Catalogue
    from services.gateway.projection import Projection
    from services.gateway.ring import Ring
    from shared.contracts.snapshot import Snapshot
    from shared.jetstream.store import Stored

#: Pause before the bucket is asked again when it did not answer.
PAUSE_SECONDS: Final = 1.0
#: How often the bucket is asked whether something was missed although no gap has shown.
LOOK_SECONDS: Final = 5.0


class Records(Protocol):
    """The jobs' bucket, for reading."""

    def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        """Every record that changed after a revision."""


class Feed:
    """The one writer of the projection and the ring."""

    def __init__(
        self,
        *,
        nc: Client,
        records: Records,
        projection: Projection,
        ring: Ring,
        catalogue: Catalogue,
        log: FilteringBoundLogger,
    ) -> None:
        self._nc = nc
        self._records = records
        self._projection = projection
        self._ring = ring
        self._catalogue = catalogue
        self._log = log
        self._live: dict[str, Progress] = {}
        self._missed = asyncio.Event()
        self._reading = asyncio.Lock()
        self._jobs: Decoder[Job] = Decoder(Job)
        self._progress: Decoder[Progress] = Decoder(Progress)
        self._beats: Decoder[Beat] = Decoder(Beat)

    def now(self, stored: Snapshot) -> Snapshot:
        """A snapshot with what ticks have told since."""
        return current(stored, self._live.get(stored.id))

    async def start(self) -> None:
        """Subscribe, then read everything that was written before."""
        await self._nc.subscribe(ALL_RECORDS, cb=self._on_snapshot)
        await self._nc.subscribe(ALL_PROGRESS, cb=self._on_progress)
        await self._nc.subscribe(ALL_BEATS, cb=self._on_beat)
        await until_connected(self._catch_up, self._log)

    async def run(self, stopping: asyncio.Event) -> None:
        """Close gaps until ``stopping``."""
        while not stopping.is_set():
            await unless_stopped(stopping, self._look_is_due())
            if stopping.is_set():
                return
            self._missed.clear()
            try:
                await self._catch_up()
            except ConnectionError as exc:
                self._log.warning("can't read the jobs", reason=str(exc))
                self._missed.set()
                await unless_stopped(stopping, asyncio.sleep(PAUSE_SECONDS))

    async def _look_is_due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._missed.wait()

    async def _catch_up(self) -> None:
        async with self._reading:
            async for stored in self._records.scan(self._projection.revision):
                self._take(stored.revision, stored.job_id, stored.job)

    async def _on_snapshot(self, message: Msg) -> None:
        headers = message.headers or {}
        revision = int(headers.get("Nats-Sequence", "0"))
        job_id = message.subject.rpartition(".")[2]
        if revision != self._projection.revision + 1:
            self._missed.set()
            if revision > self._projection.revision + 1:
                return  # the scan brings it, in order, with what was missed
        try:
            job = self._jobs.decode(message.data) if message.data else None
        except UndecodableError as exc:
            self._log.error("undecodable record", job_id=job_id, reason=str(exc))
            return
        self._take(revision, job_id, job)

    def _take(self, revision: int, job_id: str, job: Job | None) -> None:
        if job is None:
            self._projection.remove(revision, job_id)
            self._live.pop(job_id, None)
            return
        seen = snapshot(job)
        if not self._projection.store(revision, seen):
            return
        if seen.status.terminal:
            self._live.pop(job_id, None)
        self._ring.append(job_frame(revision, self.now(seen)))

    async def _on_progress(self, message: Msg) -> None:
        try:
            progress = self._progress.decode(message.data)
        except UndecodableError as exc:
            self._log.warning("undecodable progress", reason=str(exc))
            return
        row = self._projection.get(progress.job_id)
        if row is None or row.snapshot.status.terminal:
            return
        known = self.now(row.snapshot)
        if progress.progress < known.progress:  # told by a scheduler that has just taken over
            progress = Progress(
                job_id=progress.job_id,
                phase=progress.phase,
                progress=known.progress,
                activity=progress.activity,
                note=progress.note,
                eta=progress.eta,
            )
        self._live[progress.job_id] = progress
        text = b"event: progress\ndata: " + encode(progress) + b"\n\n"
        self._ring.append(Frame(progress.job_id, None, last=False, text=text))

    async def _on_beat(self, message: Msg) -> None:
        try:
            self._catalogue.heard(self._beats.decode(message.data))
        except UndecodableError as exc:
            self._log.warning("undecodable heartbeat", reason=str(exc))


def job_frame(revision: int, seen: Snapshot) -> Frame:
    """The event that tells of a job's new state; its id is the revision."""
    text = b"id: %d\nevent: job\ndata: %b\n\n" % (revision, encode(seen))
    return Frame(seen.id, revision, seen.status.terminal, text)
