"""One mailbox suite, two mailboxes: each as a ``Post`` that a test can put messages into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.topology import WORK, provision
from tests.support.broker import Broker, clean
from tests.support.memory import MemoryMailbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

    from shared.actor.mailbox import Mailbox
    from shared.telemetry import Telemetry

#: Seconds after which a message that was not settled is handed out again.
ACK_WAIT = 0.6


class Post(Protocol):
    """A mailbox, and the door that messages come in by."""

    @property
    def mailbox(self) -> Mailbox:
        """It."""

    async def another(self) -> Mailbox:
        """One more mailbox of the same messages."""

    async def put(self, unit: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Store a message."""

    async def stored(self) -> int:
        """Messages that are not done yet."""


class _MemoryPost:
    def __init__(self, ack_wait: float) -> None:
        self.mailbox = MemoryMailbox(ack_wait)

    async def another(self) -> Mailbox:
        return self.mailbox.another()

    async def put(self, unit: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.mailbox.put(f"work.download.j1.{unit}", body, headers)

    async def stored(self) -> int:
        return self.mailbox.stored


class _JetStreamPost:
    def __init__(self, js: JetStreamContext, mailbox: JetStreamMailbox) -> None:
        self._js = js
        self.mailbox = mailbox

    async def another(self) -> Mailbox:
        return await JetStreamMailbox.bind(self._js, WORK, "short")

    async def put(self, unit: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        await self._js.publish(f"work.download.j1.{unit}", body, headers=headers)

    async def stored(self) -> int:
        return int((await self._js.stream_info(WORK)).state.messages)


@pytest.fixture
def ack_wait() -> float:
    """Of the mailbox; for other seconds parametrize it."""
    return ACK_WAIT


@pytest.fixture(params=["memory", "jetstream"])
async def post(
    request: pytest.FixtureRequest, running_broker: Broker, ack_wait: float
) -> AsyncIterator[Post]:
    """An empty mailbox with a short ack wait."""
    if request.param == "memory":
        yield _MemoryPost(ack_wait)
        return
    js = await _with_short_durable(running_broker, ack_wait)
    mailbox = await JetStreamMailbox.bind(js, WORK, "short")
    yield _JetStreamPost(js, mailbox)
    await mailbox.close()
    await js.delete_consumer(WORK, "short")
    await provision(js)
    await js._nc.close()


async def _with_short_durable(broker: Broker, ack_wait: float) -> JetStreamContext:
    """A work queue allows one consumer a subject: ours takes the place of ``download``."""
    await clean(broker.url)
    nc = await nats.connect(broker.url)
    js = nc.jetstream(timeout=5)
    await js.delete_consumer(WORK, "download")
    config = ConsumerConfig(
        durable_name="short",
        filter_subject="work.download.>",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
    )
    await js.add_consumer(WORK, config)
    return js


@pytest.fixture
def speaker(nc: Client, log: FilteringBoundLogger, telemetry: Telemetry) -> JetStreamSpeaker:
    """Says words to the broker."""
    return JetStreamSpeaker(nc, log, telemetry)


@pytest.fixture
def fragile_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of one's own, to be killed."""
    broker = Broker(tmp_path_factory.mktemp("fragile"))
    broker.start()
    yield broker
    broker.stop()
