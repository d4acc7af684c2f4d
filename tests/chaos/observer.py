"""Writes down every record of every job as it is republished, for as long as it is there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import nats
import nats.errors
import nats.js.errors

from shared.jetstream.connection import flushed
from tests.chaos.history import Record, Seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.api import StreamInfo

T = TypeVar("T")

JOBS: Final = "KV_jobs"
QUEUES: Final = ("INBOX", "WORK")
_SUBJECT: Final = "$KV.jobs."
#: Pause before a broker that does not answer is asked again.
AGAIN_SECONDS: Final = 0.3


class Observer:
    """A listener on ``live.jobs.>``, and a reader of what lies on the broker."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._js = nc.jetstream(timeout=5)
        #: Every record heard, by job, in the order in which they came.
        self.heard: defaultdict[str, list[Seen]] = defaultdict(list)
        #: Revisions in the order in which they came, whosever.
        self.revisions: list[int] = []

    async def hear(self, message: Msg) -> None:
        """A record was republished."""
        headers = message.headers or {}
        if not message.data:
            return
        seen = Seen(
            revision=int(headers["Nats-Sequence"]),
            previous=int(headers["Nats-Last-Sequence"]),
            record=msgspec.json.decode(message.data, type=Record),
        )
        self.revisions.append(seen.revision)
        self.heard[seen.record.id].append(seen)

    async def flush(self) -> None:
        """Return when everything has been heard that was told until now."""
        await flushed(self._nc)

    async def records(self) -> dict[str, Seen]:
        """Every job's newest record, as it lies in the bucket."""
        info = await self._stream(JOBS, f"{_SUBJECT}>")
        found = {}
        for subject in info.state.subjects or {}:
            message = await self._patiently(
                partial(self._js.get_last_msg, JOBS, subject, direct=True)
            )
            record = msgspec.json.decode(message.data, type=Record)
            found[record.id] = Seen(message.seq, 0, record)
        return found

    async def left(self) -> dict[str, int]:
        """Messages that lie in the two work queues."""
        return {name: (await self._stream(name)).state.messages for name in QUEUES}

    async def deliveries(self) -> dict[str, int]:
        """How often each durable consumer has handed out something."""
        lists = [await self._patiently(partial(self._js.consumers_info, name)) for name in QUEUES]
        return {info.name: info.delivered.consumer_seq for infos in lists for info in infos}

    async def _stream(self, name: str, subjects: str | None = None) -> StreamInfo:
        return await self._patiently(partial(self._js.stream_info, name, subjects))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the broker answers once it is there."""
        while True:
            with suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
                return await ask()
            await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def observing(url: str) -> AsyncIterator[Observer]:
    """Listen from now on; the line comes back by itself whenever the broker does."""

    async def expected(_: Exception) -> None:
        """The broker is away: that is what it is all about."""

    nc = await nats.connect(
        url,
        error_cb=expected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        ping_interval=2,
        max_outstanding_pings=2,
    )
    observer = Observer(nc)
    try:
        await nc.subscribe("live.jobs.>", cb=observer.hear)
        await flushed(nc)
        yield observer
    finally:
        await nc.close()
