"""The mailbox over a durable pull consumer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import nats.errors
import nats.js.errors

from shared.jetstream.connection import broker_errors, heeding_cancellation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext


#: The shortest delay that is one.
NOW_SECONDS: Final = 0.001


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

    @classmethod
    async def bind(cls, js: JetStreamContext, stream: str, durable: str) -> Self:
        """The mailbox of a durable that provisioning has created."""
        return cls(await js.pull_subscribe_bind(durable, stream))

    async def fetch(self, limit: int, timeout: float) -> Sequence[JetStreamDelivery]:  # noqa: ASYNC109 - see Mailbox
        """See ``Mailbox``."""
        try:
            with heeding_cancellation():
                messages = await self._subscription.fetch(limit, timeout=timeout)
        except TimeoutError:  # nats-py raises its own and asyncio's, which are one by inheritance
            return ()
        except nats.js.errors.APIError as exc:
            raise ConnectionError(str(exc)) from exc
        except nats.errors.Error as exc:
            message = f"{type(exc).__name__}: {exc}"
            raise ConnectionError(message) from exc
        return [JetStreamDelivery(message) for message in messages]

    async def close(self) -> None:
        """Hand back what arrived after the last fetch gave up waiting; ask for nothing more."""
        # Fetching would take what others may have; nats-py has no other way to what has come.
        arrived = self._subscription._sub._pending_queue  # noqa: SLF001 - see above
        with suppress(ConnectionError, nats.errors.Error):
            await self._subscription.unsubscribe()
            while not arrived.empty():
                message = arrived.get_nowait()
                if message.reply:  # a status has none
                    await JetStreamDelivery(message).nak()
