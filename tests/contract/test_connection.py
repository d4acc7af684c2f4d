"""What a client has said is with the broker once it is flushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nats

from shared.jetstream.connection import flushed

if TYPE_CHECKING:
    from nats.aio.client import Client

    from tests.support.broker import Broker

#: Enough to keep the broker busy for longer than a message takes from another client.
SUBSCRIPTIONS = 2000


async def test_whoever_has_subscribed_hears_what_another_says_after_that(
    nc: Client, running_broker: Broker
) -> None:
    other = await nats.connect(running_broker.url)
    try:
        for number in range(SUBSCRIPTIONS):
            last = await nc.subscribe(f"heard.{number}")
        await flushed(nc)
        await other.publish(f"heard.{SUBSCRIPTIONS - 1}", b"said")
        await flushed(other)
        await flushed(nc)
        assert last.pending_msgs == 1
    finally:
        await other.close()
