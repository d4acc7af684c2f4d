"""One scheduler's time as the owner: from taking the lease to losing or leaving it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from services.scheduler.deciding import LeaseLostError
from shared.actor.stopping import unless_stopped
from shared.jetstream.connection import until_connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.actor import Message, Scheduler
    from services.scheduler.live import LiveProgress
    from shared.actor.host import Host
    from shared.actor.mailbox import Speaker
    from shared.contracts.commands import Reply
    from shared.contracts.live import Queue
    from shared.contracts.work import Word

#: How often it looks for something to do although nothing has stirred: workers may have gone.
LOOK_SECONDS: Final = 1.0
#: It looks no more often than this: slots that come free together are given away in one write.
SETTLE_SECONDS: Final = 0.02
#: How often a standby reads what the owner has written.
FOLLOW_SECONDS: Final = 1.0


class Lease(Protocol):
    """The right to act as the owner."""

    async def acquire(self) -> None:
        """Wait until it is ours."""

    async def keep(self) -> None:
        """Renew it until it is lost."""

    async def release(self) -> None:
        """Let a standby have it."""


class Outlook(Protocol):
    """Tells the gateways in which order jobs will have their turns."""

    async def tell(self, queue: Callable[[], Queue]) -> None:
        """Tell it, unless it was told just now."""


class Reign:
    """Stands by, takes over, decides, steps down; again and again until told to stop."""

    def __init__(  # noqa: PLR0913 - all by keyword, from wiring alone
        self,
        *,
        lease: Lease,
        scheduler: Scheduler,
        new_host: Callable[[], Host[Message, Word | Reply]],
        speaker: Speaker[Word | Reply],
        live: LiveProgress,
        outlook: Outlook,
        grace: float,
        steady: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._lease = lease
        self._scheduler = scheduler
        self._new_host = new_host
        self._speaker = speaker
        self._live = live
        self._outlook = outlook
        self._grace = grace
        self._steady = steady
        self._decided = float("-inf")
        self._log = log

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        while not stopping.is_set():
            await unless_stopped(stopping, self._stand_by())
            if stopping.is_set():
                return
            self._log.info("took over")
            try:
                await self._reign(stopping)
            except* LeaseLostError:
                self._log.warning("lost the lease")
                self._scheduler.step_down()
            finally:
                with suppress(ConnectionError):
                    await self._lease.release()

    async def _stand_by(self) -> None:
        """Wait for the lease, and follow what the owner writes meanwhile."""
        following = asyncio.create_task(self._follow())
        try:
            await self._lease.acquire()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            with suppress(ConnectionError):
                await self._scheduler.catch_up()
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _reign(self, stopping: asyncio.Event) -> None:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep_lease())
            stop = group.create_task(_relay(stopping, over))
            for word in await until_connected(self._scheduler.take_over, self._log):
                await self._speaker.say(word)
            host = self._new_host()
            decider = group.create_task(self._decide(host, over))
            await host.run(over, grace=self._grace)
            for task in (keeper, stop, decider):
                task.cancel()

    async def _keep_lease(self) -> None:
        await self._lease.keep()
        raise LeaseLostError

    def _until_settled(self) -> float:
        """Seconds to wait, so that what comes close together is decided on together."""
        now = self._steady()
        pause = max(0.0, self._decided + SETTLE_SECONDS - now)
        self._decided = now + pause
        return pause

    async def _decide(self, host: Host[Message, Word | Reply], over: asyncio.Event) -> None:
        """Tell the scheduler what only it can know: a job's turn, a time that has come."""
        stirred = self._scheduler.stirred
        while not over.is_set():
            due = self._scheduler.next_due()
            pause = LOOK_SECONDS if due is None else min(LOOK_SECONDS, due)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stirred.wait()
            await asyncio.sleep(self._until_settled())
            stirred.clear()
            self._live.forget_finished()
            for decision in self._scheduler.decisions():
                await host.inject(decision, self._scheduler.trace_of(decision.job_id))
            await self._outlook.tell(self._scheduler.queue)


async def _relay(stopping: asyncio.Event, over: asyncio.Event) -> None:
    await stopping.wait()
    over.set()
