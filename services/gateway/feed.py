"""Keeps the read model and the ring current with what the scheduler writes and tells.

Records come republished over core NATS, which may lose some: revisions are the bucket's
sequence, so a gap shows, and what is missing is read from the bucket.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from services.gateway.core import current
from services.gateway.followers import Followers, as_its_leader
from services.gateway.frames import batch_frame, gone_frame, job_frame, progress_frame
from services.gateway.projection import BATCH, JOB, Mark
from shared.actor.stopping import unless_stopped
from shared.contracts.batch import batch_snapshot
from shared.contracts.codec import Decoder, UndecodableError
from shared.contracts.live import Progress
from shared.contracts.subjects import ALL_PROGRESS, ALL_RECORDS
from shared.jetstream.connection import until_connected
from shared.jetstream.store import Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from structlog.typing import FilteringBoundLogger

    from services.gateway.overview import Overviews
    from services.gateway.places import Places
    from services.gateway.projection import Projection
    from services.gateway.ring import Frame, Ring
    from shared.contracts.snapshot import Snapshot
    from shared.jetstream.store import StoredBatch

#: Pause before the bucket is asked again when it did not answer.
PAUSE_SECONDS: Final = 1.0
#: How often the bucket is asked whether something was missed although no gap has shown.
LOOK_SECONDS: Final = 5.0
#: Records that are taken in at once: it takes some milliseconds.
TAKEN_AT_ONCE: Final = 32
_RECORDS: Final = ALL_RECORDS.removesuffix(">")


class Records(Protocol):
    """The bucket, for reading."""

    def scan(self, after: int = 0) -> AsyncIterator[Stored | StoredBatch]:
        """Every record that changed after a revision."""

    async def load(self, job_id: str) -> Stored | None:
        """One record as it is now."""

    def read(
        self, key: str, revision: int, data: bytes, headers: Mapping[str, str] | None
    ) -> Stored | StoredBatch:
        """The record in a message."""


class Feed:
    """The one writer of the projection."""

    def __init__(
        self,
        *,
        nc: Client,
        records: Records,
        projection: Projection,
        overviews: Overviews,
        places: Places,
        ring: Ring,
        now: Callable[[], datetime],
        log: FilteringBoundLogger,
    ) -> None:
        self._nc = nc
        self._records = records
        self._projection = projection
        self._overviews = overviews
        self._places = places
        self._ring = ring
        self._now = now
        self._log = log
        self._live: dict[str, Progress] = {}
        self._followers = Followers()
        #: Batches of which something has changed since they were told.
        self._touched: dict[str, None] = {}
        self._missed = asyncio.Event()
        self._reading = asyncio.Lock()
        #: The newest revision that came live, and whether one came that was not newer.
        self._heard = 0
        self._suspicious = False
        #: While all is read that was written before, nobody is told of it.
        self._quiet = True
        self._progress: Decoder[Progress] = Decoder(Progress)

    def now(self, stored: Snapshot) -> Snapshot:
        """A snapshot with what has been told since: ticks, its place in the queue, its leader."""
        seen = self._places.placed(current(stored, self._live.get(stored.id)))
        if seen.follows is None or (row := self._projection.get(seen.follows)) is None:
            return seen
        leader = current(row.snapshot, self._live.get(seen.follows))
        return as_its_leader(seen, self._places.placed(leader))

    def frame(self, mark: Mark) -> Frame | None:
        """The event that tells of a change; None if it has changed again since."""
        if mark.gone:
            return gone_frame(mark)
        if mark.kind == BATCH:
            batch = self._projection.batch(mark.id)
            if batch is None or batch.revision != mark.revision:
                return None
            return batch_frame(mark.revision, self._overviews.of(batch.snapshot))
        row = self._projection.get(mark.id)
        if row is None or row.revision != mark.revision:
            return None
        return job_frame(mark.revision, self.now(row.snapshot))

    def touched(self, limit: int) -> list[str]:
        """Up to ``limit`` batches of which something has changed; they count as told now."""
        batches = list(self._touched)[:limit]
        for batch in batches:
            del self._touched[batch]
        return batches

    async def start(self) -> None:
        """Subscribe, then read everything that was written before."""
        await self._nc.subscribe(ALL_RECORDS, cb=self._on_record)
        await self._nc.subscribe(ALL_PROGRESS, cb=self._on_progress)
        await until_connected(self._catch_up, self._log)
        self._quiet = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Close gaps until ``stopping``."""
        while not stopping.is_set():
            await unless_stopped(stopping, self._look_is_due())
            if stopping.is_set():
                return
            self._missed.clear()
            try:
                if await self._is_another_bucket():
                    await self._begin_anew()
                await self._catch_up()
            except ConnectionError as exc:
                self._log.warning("can't read the jobs", reason=str(exc))
                self._missed.set()
                await unless_stopped(stopping, asyncio.sleep(PAUSE_SECONDS))

    async def _look_is_due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._missed.wait()

    async def _is_another_bucket(self) -> bool:
        """Whether the bucket was made anew: its revisions begin again, below those known."""
        newest = self._projection.newest()
        if self._suspicious or newest is None:
            return self._suspicious
        try:
            stored = await self._records.load(newest[0])
        except UndecodableError:
            return False  # of another version, but there
        return stored is None or stored.revision < newest[1]

    async def _begin_anew(self) -> None:
        self._log.error("the jobs' bucket was made anew; so is all that is known of it")
        self._projection.clear()
        self._live.clear()
        self._touched.clear()
        self._followers.clear()
        self._heard, self._suspicious, self._quiet = 0, False, True
        try:
            await self._catch_up()
        finally:
            self._quiet = False
            self._ring.begin_anew()

    async def _catch_up(self) -> None:
        async with self._reading:
            read: list[Stored | StoredBatch] = []
            async for stored in self._records.scan(self._projection.revision):
                read.append(stored)
                if len(read) == TAKEN_AT_ONCE:
                    self._take(read)
                    read.clear()
            self._take(read)

    async def _on_record(self, message: Msg) -> None:
        headers = message.headers or {}
        revision = int(headers.get("Nats-Sequence", "0"))
        if not revision:
            return  # this is not the broker's
        if revision <= self._heard:
            self._suspicious = True
            self._missed.set()
            return
        self._heard = revision
        if revision != self._projection.revision + 1:
            self._missed.set()
            if revision > self._projection.revision + 1:
                return  # the scan brings it, in order, with what was missed
        key = message.subject.removeprefix(_RECORDS)
        try:
            stored = self._records.read(key, revision, message.data, headers)
        except UndecodableError as exc:
            self._log.error("undecodable record", key=key, reason=str(exc))
            return
        self._take([stored])

    def _take(self, read: list[Stored | StoredBatch]) -> None:
        with self._projection.at_once():
            for stored in read:
                if isinstance(stored, Stored):
                    self._take_job(stored)
                else:
                    self._take_batch(stored)

    def _take_job(self, stored: Stored) -> None:
        if stored.job is None:
            self._live.pop(stored.job_id, None)
            self._followers.note(stored.job_id, None)
            if self._projection.remove(stored.revision, stored.job_id, self._now()):
                self._tell(gone_frame(Mark(stored.revision, JOB, stored.job_id, gone=True)))
            return
        seen = self._projection.store(stored.revision, stored.job)
        if seen is None:
            return
        self._followers.note(seen.id, seen.follows)
        if self._quiet:
            return
        if seen.status.terminal:
            self._live.pop(seen.id, None)
        known = self.now(seen)
        if known.progress > seen.progress:
            self._projection.advance(known.id, known.progress)
        self._touch(known)
        self._tell(job_frame(stored.revision, known))
        if seen.status.terminal:
            return  # what its followers come to, their own records tell
        for follower in self._followers.of(seen.id):
            if (row := self._projection.get(follower)) is not None:
                self._tell(job_frame(None, self.now(row.snapshot)))

    def _take_batch(self, stored: StoredBatch) -> None:
        if stored.batch is None:
            if self._projection.remove_batch(stored.revision, stored.batch_id, self._now()):
                self._tell(gone_frame(Mark(stored.revision, BATCH, stored.batch_id, gone=True)))
            return
        changed = self._projection.store_batch(stored.revision, stored.batch)
        if changed is None or self._quiet:
            return
        if changed:
            body = self._overviews.of(batch_snapshot(stored.batch))
            self._tell(batch_frame(stored.revision, body))
        else:  # how many of its jobs are made is told with how far they are
            self._touched[stored.batch_id] = None

    def _tell(self, frame: Frame) -> None:
        if not self._quiet:
            self._ring.append(frame)

    def _touch(self, seen: Snapshot) -> None:
        if seen.batch is not None:
            self._touched[seen.batch] = None

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
            progress = replace(progress, progress=known.progress)
        self._live[progress.job_id] = progress
        self._show(known, progress)
        for follower in self._followers.of(progress.job_id):
            if (row := self._projection.get(follower)) is None or row.snapshot.held:
                continue
            mine = self.now(row.snapshot)
            self._show(mine, replace(progress, job_id=follower, progress=mine.progress))

    def _show(self, seen: Snapshot, progress: Progress) -> None:
        self._projection.advance(progress.job_id, progress.progress)
        self._touch(seen)
        self._ring.append(progress_frame(progress))
