"""What tests of every kind may use: a log that remembers, a broker that is real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings

from shared.jetstream.connection import connect
from shared.telemetry import Telemetry
from tests.support.broker import Broker, clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

# A machine that is busy with something else fails no test.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def log_lines() -> structlog.testing.LogCapture:
    """What was logged on ``log``."""
    return structlog.testing.LogCapture()


@pytest.fixture
def log(log_lines: structlog.testing.LogCapture) -> FilteringBoundLogger:
    """A logger that writes nowhere and remembers all."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[log_lines],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return logger


@pytest.fixture
def telemetry() -> Telemetry:
    """Metrics that nobody reads, traces that go nowhere."""
    return Telemetry("test")


@pytest.fixture(scope="session")
def running_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests that don't break it."""
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def broker(running_broker: Broker) -> Broker:
    """A broker with nothing in it but the empty streams and their durables."""
    await clean(running_broker.url)
    return running_broker


@pytest.fixture
async def nc(broker: Broker, log: FilteringBoundLogger) -> AsyncIterator[Client]:
    """A client's connection."""
    client = await connect(broker.url, "tests", log)
    yield client
    await client.close()


@pytest.fixture
async def js(nc: Client) -> JetStreamContext:
    """JetStream over that connection."""
    return nc.jetstream(timeout=5)
