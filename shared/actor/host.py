"""The host of an actor: fetches, hands over, says the words that follow, settles.

The one way through the code for a message.  A message is acknowledged only after its words
are stored; whatever dies in between, it is handed out again, so actors must take the same
message twice without harm.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from shared.contracts.codec import Decoder, UndecodableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from shared.actor.mailbox import Delivery, Mailbox, Speaker
    from shared.telemetry import Telemetry

M = TypeVar("M")
W = TypeVar("W")
M_contra = TypeVar("M_contra", contravariant=True)
W_co = TypeVar("W_co", covariant=True)

#: How long one fetch waits for a message.
FETCH_SECONDS: Final = 0.5
#: How often the broker is told that a message is still being worked on: a third of the workers'
#: ack_wait.  The scheduler's is shorter, and so is its pace.
IN_PROGRESS_SECONDS: Final = 10.0
#: A message that can't be decoded may be of a newer version, whose takers are about to start:
#: it comes again after this long, and is dropped after this many times.
UNDECODABLE_SECONDS: Final = 30.0
UNDECODABLE_DELIVERIES: Final = 20
#: Pause after the broker could not be asked, before a message that failed comes again, and
#: between two looks whether messages may be taken.
PAUSE_SECONDS: Final = 1.0


class Actor(Protocol[M_contra, W_co]):
    """Takes a message, returns the words that follow from it."""

    async def receive(self, message: M_contra, *, deliveries: int) -> Sequence[W_co]:
        """Handle ``message``, which has been handed out ``deliveries`` times."""


class Host(Generic[M, W]):
    """Runs an actor on a mailbox, ``slots`` fetches at a time, each of up to ``batch`` messages.

    The messages of one fetch are handled one after another.
    """

    def __init__(  # noqa: PLR0913 - all by keyword, from wiring alone
        self,
        *,
        mailbox: Mailbox,
        decoder: Decoder[M],
        actor: Actor[M, W],
        speaker: Speaker[W],
        telemetry: Telemetry,
        log: FilteringBoundLogger,
        slots: int = 1,
        batch: int = 1,
        in_progress_seconds: float = IN_PROGRESS_SECONDS,
        may_take: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_take``: whether new messages may be begun; those at work go on whatever it says.

        It is asked before each fetch, and must not wait.
        """
        self._mailbox = mailbox
        self._decoder = decoder
        self._actor = actor
        self._speaker = speaker
        self._telemetry = telemetry
        self._log = log
        self._slots = slots
        self._batch = batch
        self._in_progress_seconds = in_progress_seconds
        self._may_take = may_take
        self._running: set[asyncio.Task[None]] = set()
        #: One turn a slot: an injected message takes its turn among those of the mailbox.
        self._turns = asyncio.Semaphore(slots)

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._running)

    async def run(self, stopping: asyncio.Event, *, grace: float) -> None:
        """Work until ``stopping``; finish what fits into ``grace`` seconds, hand back the rest.

        The mailbox is closed as soon as it is ``stopping``: a host that waits is done at once.
        """
        stop = asyncio.create_task(stopping.wait())
        leaving = asyncio.create_task(self._leave(stopping))
        try:
            while not stopping.is_set():
                if len(self._running) >= self._slots:
                    await asyncio.wait({stop, *self._running}, return_when=asyncio.FIRST_COMPLETED)
                    continue
                if not self._may_take():
                    await asyncio.wait({stop}, timeout=PAUSE_SECONDS)
                    continue
                if deliveries := await self._fetch(stopping):
                    task = asyncio.create_task(self._handle_all(deliveries, stopping))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
            if self._running:
                await asyncio.wait(self._running, timeout=grace)
            await leaving
        finally:
            leftover = (stop, leaving, *self._running)
            for one in leftover:
                one.cancel()
            await asyncio.gather(*leftover, return_exceptions=True)

    async def inject(self, message: M, headers: Mapping[str, str]) -> None:
        """Handle a message of our own: same turn-taking, same words, nothing to settle."""
        async with self._turns:
            await self._answer(message, headers, deliveries=1)

    async def _leave(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await self._mailbox.close()

    async def _answer(self, message: M, headers: Mapping[str, str], deliveries: int) -> None:
        with self._telemetry.received(message, headers):
            for word in await self._actor.receive(message, deliveries=deliveries):
                await self._speaker.say(word)

    async def _fetch(self, stopping: asyncio.Event) -> Sequence[Delivery]:
        try:
            return await self._mailbox.fetch(self._batch, FETCH_SECONDS)
        except ConnectionError as exc:
            self._log.warning("mailbox out of reach", reason=str(exc))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PAUSE_SECONDS)
            return ()

    async def _handle_all(self, deliveries: Sequence[Delivery], stopping: asyncio.Event) -> None:
        waiting = list(deliveries)
        alive = asyncio.create_task(self._keep(waiting))
        try:
            for delivery in deliveries:
                if stopping.is_set():
                    with suppress(ConnectionError):
                        await delivery.nak()
                else:
                    await self._handle(delivery)
                waiting.remove(delivery)
        finally:
            alive.cancel()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            message = self._decoder.decode(delivery.body)
        except UndecodableError as exc:
            self._log.error("undecodable message", subject=delivery.subject, reason=str(exc))
            with suppress(ConnectionError):
                if delivery.deliveries >= UNDECODABLE_DELIVERIES:
                    await delivery.discard()
                else:
                    await delivery.nak(UNDECODABLE_SECONDS)
            return
        try:
            async with self._turns:
                await self._answer(message, delivery.headers, delivery.deliveries)
            await delivery.ack()
        except asyncio.CancelledError:
            with suppress(ConnectionError):
                await delivery.nak()
            raise
        except Exception:  # noqa: BLE001 - the one place that catches everything: the message comes again
            self._log.exception("message failed", subject=delivery.subject)
            with suppress(ConnectionError):
                await delivery.nak(PAUSE_SECONDS)

    async def _keep(self, waiting: Sequence[Delivery]) -> None:
        """Tell the broker of everything that is not settled yet that it will be."""
        while True:
            await asyncio.sleep(self._in_progress_seconds)
            for delivery in tuple(waiting):
                with suppress(ConnectionError):
                    await delivery.in_progress()
