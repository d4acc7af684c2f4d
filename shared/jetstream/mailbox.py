"""The mailbox over a durable pull consumer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from shared.jetstream.connection import broker_errors, flushed, heeding_cancellation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.js import JetStreamContext


#: The shortest delay that is one.
NOW_SECONDS: Final = 0.001
#: How long the broker has to say that it sends nothing more.
FAREWELL_SECONDS: Final = 1
#: What ends a fetch of nats-py in all of its states, as if the broker had said it.  One for several
#: messages waits up to three times (for what is there, for the first of what comes, for its rest),
#: each time until a pull is said to have expired; one for a single message goes on after that,
#: and ends with an error.
_ENDS: Final = ("408", "408", "408", "503")


class JetStreamDelivery:
    """One message of a consumer."""

    def __init__(self, message: Msg) -> None:
        self._message = message

    @property
    def subject(self) -> str:
        """See ``Delivery``."""
        return str(self._message.subject)

    @property
    def body(self) -> bytes:
        """See ``Delivery``."""
        return bytes(self._message.data)

    @property
    def headers(self) -> Mapping[str, str]:
        """See ``Delivery``."""
        return self._message.headers or {}

    @property
    def deliveries(self) -> int:
        """See ``Delivery``."""
        return int(self._message.metadata.num_delivered)

    async def ack(self) -> None:
        """See ``Delivery``.  Not confirmed: an ack that gets lost means one more delivery."""
        with broker_errors():
            await self._message.ack()

    async def nak(self, delay: float = 0.0) -> None:
        """See ``Delivery``."""
        with broker_errors():
            # The broker keeps a delay on its disk, and forgets a plain "now" when it restarts:
            # the message would then wait for the whole of ack_wait.
            await self._message.nak(delay=max(delay, NOW_SECONDS))

    async def discard(self) -> None:
        """See ``Delivery``."""
        with broker_errors():
            await self._message.term()

    async def in_progress(self) -> None:
        """See ``Delivery``."""
        with broker_errors():
            await self._message.in_progress()


class JetStreamMailbox:
    """A durable consumer as a mailbox."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription
        #: Held by a fetch.
        self._fetching = asyncio.Lock()
        self._closed = False
        #: Whether closing it came to its end.
        self._left = False

    @classmethod
    async def bind(cls, js: JetStreamContext, stream: str, durable: str) -> Self:
        """The mailbox of a durable that provisioning has created."""
        return cls(await js.pull_subscribe_bind(durable, stream))

    async def fetch(self, limit: int, timeout: float) -> Sequence[JetStreamDelivery]:  # noqa: ASYNC109 - see Mailbox
        """See ``Mailbox``."""
        async with self._fetching:
            if self._closed:
                return ()
            try:
                with heeding_cancellation():
                    messages = await self._subscription.fetch(limit, timeout=timeout)
            except TimeoutError:  # nats-py raises its own and asyncio's: one by inheritance
                return ()
            except nats.js.errors.APIError as exc:
                if self._closed:
                    return ()
                raise ConnectionError(str(exc)) from exc
            except nats.errors.Error as exc:
                message = f"{type(exc).__name__}: {exc}"
                raise ConnectionError(message) from exc
        return [JetStreamDelivery(message) for message in messages]

    async def close(self) -> None:
        """See ``Mailbox``."""
        if self._left:
            return
        self._closed = True
        # nats-py can neither end a fetch nor leave with what has come: what follows is its
        # ``drain``, but for who takes what is left, and the end of a pull as the broker puts it.
        subscription = self._subscription._sub  # noqa: SLF001 - see above
        broker, arrived = subscription._conn, subscription._pending_queue  # noqa: SLF001
        with suppress(ConnectionError, nats.errors.Error):
            if broker.is_connected:
                # The pull lives on, but the broker knows what it could not deliver for want of
                # somebody who listens, and hands it out again.
                await broker._send_unsubscribe(subscription._id)  # noqa: SLF001
                await flushed(broker, FAREWELL_SECONDS)
        for status in _ENDS:
            arrived.put_nowait(Msg(broker, headers={"Status": status}))
        async with self._fetching:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()
            with suppress(ConnectionError, nats.errors.Error):
                while not arrived.empty():
                    message = arrived.get_nowait()
                    if message.reply:  # a status has none
                        await JetStreamDelivery(message).nak()
        self._left = True
