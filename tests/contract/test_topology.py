"""What provisioning leaves behind: every stream and durable as declared, however often it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.api import AckPolicy, RetentionPolicy, StreamConfig

from shared.contracts.work import Stage
from shared.jetstream.topology import (
    INBOX,
    JOBS,
    LEASES,
    WORK,
    durables,
    provision,
    streams,
)

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from tests.support.broker import Broker


async def described(js: JetStreamContext) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Configurations of every stream and consumer there is."""
    found = {info.config.name: info.config for info in await js.streams_info()}
    consumers = {
        (stream, info.name): info.config
        for stream in found
        for info in await js.consumers_info(stream)
    }
    return found, consumers


async def test_there_is_what_is_declared_and_nothing_else(js: JetStreamContext) -> None:
    found, consumers = await described(js)
    assert {INBOX, WORK, JOBS, LEASES} == set(found) == {stream.name for stream in streams(1)}
    assert {(INBOX, "scheduler"), *((WORK, stage.value) for stage in Stage)} == set(consumers)


async def test_provisioning_again_changes_nothing(js: JetStreamContext) -> None:
    before = await described(js)
    await js.publish("work.download.j1.source", b"kept")
    await provision(js)
    assert before == await described(js)
    assert (await js.get_last_msg(WORK, "work.download.j1.source")).data == b"kept"


async def test_provisioning_brings_what_was_changed_back(js: JetStreamContext) -> None:
    before = await described(js)
    changed: StreamConfig = before[0][WORK]
    await js.update_stream(changed.evolve(max_msgs=7))
    await provision(js)
    assert before == await described(js)


async def test_every_durable_is_acknowledged_one_by_one_and_bounded(js: JetStreamContext) -> None:
    _, consumers = await described(js)
    for name, config in consumers.items():
        assert config.ack_policy == AckPolicy.EXPLICIT, name
        assert 0 < config.max_ack_pending < 10_000, name
        assert 0 < config.ack_wait <= 30, name


async def test_every_queue_is_bounded_and_refuses_rather_than_forgets(js: JetStreamContext) -> None:
    found, _ = await described(js)
    for name in (INBOX, WORK):
        config = found[name]
        assert (config.retention, config.discard) == (RetentionPolicy.WORK_QUEUE, "new")
        assert config.max_msgs > 0
        assert config.max_msg_size > 0


async def test_of_a_record_only_the_newest_is_kept_and_markers_go_by_themselves(
    js: JetStreamContext,
) -> None:
    found, _ = await described(js)
    config = found[JOBS]
    assert (config.max_msgs_per_subject, config.allow_msg_ttl) == (1, True)
    assert (config.allow_direct, config.deny_delete) == (True, True)


def test_every_stage_has_one_durable_and_no_two_read_the_same() -> None:
    filters = [consumer.filter_subject for stream, consumer in durables() if stream == WORK]
    assert sorted(f"work.{stage}.>" for stage in Stage) == sorted(filters)


def test_every_stream_has_the_copies_that_were_asked_for() -> None:
    assert {3} == {stream.num_replicas for stream in streams(3)}


@pytest.mark.parametrize(
    "setting", ["sync_interval: always", "max_file_store", "listen: 127.0.0.1"]
)
def test_the_local_broker_is_told(running_broker: Broker, setting: str) -> None:
    assert setting in Path(running_broker._config).read_text(encoding="utf-8")
