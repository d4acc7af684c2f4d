"""What goes over a stack's bus: every order, fact and tick of separation, heard from beside it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import nats

from shared.contracts.codec import Decoder
from shared.contracts.facts import Fact, Failed, Separated
from shared.contracts.live import Tick
from shared.contracts.subjects import ALL_TICKS, ALL_WORK
from shared.contracts.work import SeparateWork, Work
from shared.jetstream.connection import flushed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

ALL_FACTS: Final = "inbox.fact.>"
#: Seconds that anything that is waited for may take: far more than it takes.
PATIENCE: Final = 90.0

M = TypeVar("M", bound=Work | Fact | Tick)


class Overheard:
    """Everything heard since the beginning, in the order in which it was said."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._news = asyncio.Condition()
        self._decoders: dict[str, Decoder[Work | Fact | Tick]] = {
            "work": Decoder(Work),
            "inbox": Decoder(Fact),
            "tick": Decoder(Tick),
        }
        self.messages: list[Work | Fact | Tick] = []

    async def hear(self, message: Msg) -> None:
        """Something was said."""
        decoder = self._decoders[message.subject.partition(".")[0]]
        async with self._news:
            self.messages.append(decoder.decode(message.data))
            self._news.notify_all()

    async def say(self, subject: str, body: bytes) -> None:
        """Say something oneself, as any worker can."""
        await self._nc.publish(subject, body)
        await flushed(self._nc)

    async def flush(self) -> None:
        """Return when everything has been heard that was said until now."""
        await flushed(self._nc)

    async def until(self, kind: type[M], wanted: Callable[[M], bool], *, after: int = 0) -> M:
        """The first message of this kind that is ``wanted``, not counting the first ``after``."""

        def found() -> M | None:
            new = (one for one in self.messages[after:] if isinstance(one, kind))
            return next(filter(wanted, new), None)

        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: found() is not None)
        message = found()
        assert message is not None
        return message

    def orders(self, job_id: str) -> dict[str, list[int]]:
        """The attempts that each chunk of a job was ordered for; one said again counts once."""
        attempts: defaultdict[str, list[int]] = defaultdict(list)
        for one in self.messages:
            if isinstance(one, SeparateWork) and one.job_id == job_id:
                known = attempts[one.unit]
                if one.attempt not in known:
                    known.append(one.attempt)
        return dict(attempts)

    def done(self, job_id: str) -> dict[str, list[Separated]]:
        """Every time that a worker said that it has done a chunk of a job, by chunk."""
        facts: defaultdict[str, list[Separated]] = defaultdict(list)
        for one in self.messages:
            if isinstance(one, Separated) and one.job_id == job_id:
                facts[one.unit].append(one)
        return dict(facts)

    def failed(self, job_id: str) -> list[Failed]:
        """What workers said went wrong with a job."""
        return [one for one in self.messages if isinstance(one, Failed) and one.job_id == job_id]

    def computed_after_done(self, job_id: str) -> list[Tick]:
        """Signs that somebody worked on an attempt of a chunk that was done already."""
        done: set[tuple[str, int]] = set()
        found = []
        for one in self.messages:
            if isinstance(one, Separated) and one.job_id == job_id:
                done.add((one.unit, one.attempt))
            elif isinstance(one, Tick) and one.job_id == job_id and (one.unit, one.attempt) in done:
                found.append(one)
        return found


@asynccontextmanager
async def overhearing(url: str) -> AsyncIterator[Overheard]:
    """Listen from now on to the broker at ``url``."""
    nc = await nats.connect(url)
    heard = Overheard(nc)
    try:
        for subjects in (ALL_WORK, ALL_FACTS, ALL_TICKS):
            await nc.subscribe(subjects, cb=heard.hear)
        await flushed(nc)
        yield heard
    finally:
        await nc.close()
