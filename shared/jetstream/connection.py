"""The connection to the broker, and what it means that the broker is away."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")

#: Seconds between attempts to reach a broker that is away.
RECONNECT_SECONDS: Final = 0.25
#: Seconds that the broker may take to store a message; syncing a slow disk included.
PUBLISH_SECONDS: Final = 5.0
#: Pauses between attempts of something that needs the broker: the first and the longest.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
#: Seconds that the broker may take to answer a PING.
FLUSH_SECONDS: Final = 10
#: Bytes a client may hold back while the broker is away.
PENDING_BYTES: Final = 8 << 20


async def connect(
    url: str, name: str, log: FilteringBoundLogger, *, pause: float = RECONNECT_SECONDS
) -> Client:
    """A connection that comes back by itself for ever; waits for the broker to be there.

    It looks every ``pause`` seconds whether it is.
    Answers to ``name`` come on subjects of its own (``_INBOX_<name>.…``), so that the broker
    can keep others from listening in.
    """
    nc = Client()

    said: set[str] = set()

    async def on_error(exc: Exception) -> None:
        reason = f"{type(exc).__name__}: {exc}"
        if nc.is_connected:
            # Refused permissions arrive only here: they must be loud.
            log.error("broker error", reason=reason)
        elif reason not in said:  # each attempt to reach it says the same
            said.add(reason)
            log.warning("waiting for the broker", reason=reason)

    async def on_disconnect() -> None:
        if not nc.is_closed:
            log.warning("broker is away")

    async def on_reconnect() -> None:
        said.clear()
        log.info("broker is back")

    await nc.connect(
        url,
        name=f"stembus-{name}",
        inbox_prefix=f"_INBOX_{name}",
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        max_reconnect_attempts=-1,
        reconnect_time_wait=pause,
        connect_timeout=2,
        # Notices a broker that is there but says nothing (SIGSTOP, a cut cable) in 15 s.
        ping_interval=5,
        max_outstanding_pings=2,
        pending_size=PENDING_BYTES,
    )
    return nc


async def flushed(nc: Client, seconds: int = FLUSH_SECONDS) -> None:
    """Return when the broker has taken everything that was said over ``nc`` until now.

    nats-py's ``flush`` sends its PING past what waits to be written (a SUB, an UNSUB, a message),
    so that its PONG says nothing of that; it is written by then, and a second PING comes after it.
    """
    await nc.flush(seconds)
    await nc.flush(seconds)


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raise a cancellation that got lost inside, for everything that waits in nats-py.

    It waits with ``asyncio.wait_for``, which before Python 3.12 returns what has come, and not
    the cancellation, where both come in the same moment: a scheduler that was told to stop went
    on renewing its lease for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


@contextmanager
def broker_errors() -> Iterator[None]:
    """Whatever says that the broker can't be asked right now becomes a ConnectionError."""
    try:
        with heeding_cancellation():
            yield
    except (
        nats.errors.TimeoutError,
        nats.errors.ConnectionClosedError,
        nats.errors.ConnectionDrainingError,
        nats.errors.ConnectionReconnectingError,
        nats.errors.OutboundBufferLimitError,
        nats.errors.NoRespondersError,
        nats.errors.StaleConnectionError,
        nats.js.errors.NoStreamResponseError,
        nats.js.errors.ServiceUnavailableError,
        TimeoutError,
    ) as exc:
        message = f"{type(exc).__name__}: {exc}"
        raise ConnectionError(message) from exc


async def until_connected(ask: Callable[[], Awaitable[T]], log: FilteringBoundLogger) -> T:
    """What ``ask`` returns, asked again for as long as it raises ConnectionError."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except ConnectionError as exc:
            log.warning("asking the broker again", reason=str(exc), pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
