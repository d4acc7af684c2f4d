"""The broker dies without a goodbye and comes back: what it acknowledged is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.contracts.codec import encode
from shared.contracts.subjects import subject_of
from shared.contracts.work import Stage
from shared.jetstream import speaker as speaker_module
from shared.jetstream import store as store_module
from shared.jetstream.connection import connect, until_connected
from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.store import JobStore
from shared.jetstream.topology import WORK
from tests.support.jobs import JOB, downloaded, downloading, pending, separating, submit

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from shared.telemetry import Telemetry
    from tests.support.broker import Broker


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a dead broker from now on learns it sooner."""
    for module in (speaker_module, store_module):
        monkeypatch.setattr(module, "PUBLISH_SECONDS", 1.0)


async def test_what_was_acknowledged_outlives_the_broker_s_death_and_clients_go_on(
    fragile_broker: Broker,
    log: FilteringBoundLogger,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nc = await connect(fragile_broker.url, "tests", log)
    try:
        store, speaker = JobStore(nc), JetStreamSpeaker(nc, log, telemetry)
        revision = await store.write(pending(), 0)
        orders = separating().outbox
        for order in orders:
            await speaker.say(order)

        impatient(monkeypatch)
        store, speaker = JobStore(nc), JetStreamSpeaker(nc, log, telemetry)
        fragile_broker.kill()
        with pytest.raises(ConnectionError):
            await store.write(downloading(), revision)
        saying = asyncio.create_task(speaker.say(downloaded()))
        writing = asyncio.create_task(
            until_connected(lambda: store.write(downloading(), revision), log)
        )
        await asyncio.wait({saying, writing}, timeout=0.5)
        assert (saying.done(), writing.done()) == (False, False)
        fragile_broker.restart()

        async with asyncio.timeout(20):
            await saying
            assert await writing > revision
        js = nc.jetstream(timeout=5)
        stored = await store.load(JOB)
        assert stored is not None
        assert downloading() == stored.job
        assert (
            encode(downloaded()) == (await js.get_last_msg("INBOX", subject_of(downloaded()))).data
        )
        mailbox = await JetStreamMailbox.bind(js, WORK, Stage.SEPARATE)
        found = await mailbox.fetch(4, 5)
        assert [encode(order) for order in orders] == [delivery.body for delivery in found]
    finally:
        await nc.close()


async def test_a_command_is_refused_while_the_broker_is_away_and_not_sent_later(
    fragile_broker: Broker, log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    nc = await connect(fragile_broker.url, "tests", log)
    try:
        speaker = JetStreamSpeaker(nc, log, telemetry)
        await speaker.ask(submit("before"))
        fragile_broker.kill()
        async with asyncio.timeout(5):
            while nc.is_connected:  # noqa: ASYNC110 - the client tells it only to its own log
                await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await speaker.ask(submit("meanwhile"))
        fragile_broker.restart()
        async with asyncio.timeout(20):
            await speaker.say(downloaded())
        info = await nc.jetstream(timeout=5).stream_info("INBOX")
        assert info.state.messages == 2
    finally:
        await nc.close()


async def test_a_mailbox_whose_broker_is_gone_says_so_or_gives_nothing_and_then_works_again(
    fragile_broker: Broker, log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    nc = await connect(fragile_broker.url, "tests", log)
    try:
        mailbox = await JetStreamMailbox.bind(nc.jetstream(), WORK, Stage.DOWNLOAD)
        speaker = JetStreamSpeaker(nc, log, telemetry)
        fragile_broker.kill()

        async def brief() -> int:
            try:
                return len(await mailbox.fetch(1, 0.3))
            except ConnectionError:
                return 0

        assert [await brief() for _ in range(2)] == [0, 0]
        fragile_broker.restart()
        async with asyncio.timeout(20):
            for order in downloading().outbox:
                await speaker.say(order)
            while not await brief():
                pass
    finally:
        await nc.close()
