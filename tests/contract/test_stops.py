"""Taking away one job's waiting work leaves others' work in the broker's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contracts.work import StopOrder
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.topology import WORK

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

    from shared.telemetry import Telemetry


async def test_a_stop_leaves_what_others_have_out_to_be_handed_out_again(
    nc: Client, js: JetStreamContext, log: FilteringBoundLogger, telemetry: Telemetry
) -> None:
    work = await js.pull_subscribe_bind("download", WORK)
    for job in ("a", "b", "c"):
        await js.publish(f"work.download.{job}.source", b"{}")
    out = await work.fetch(3, timeout=5)
    await JetStreamSpeaker(nc, log, telemetry).say(StopOrder(job_id="c"))
    await js.publish("work.download.d.source", b"{}")
    (last,) = await work.fetch(1, timeout=5)
    await last.ack_sync()
    info = await js.consumer_info(WORK, "download")
    assert info.num_ack_pending == 2
    assert info.ack_floor.stream_seq < out[0].metadata.sequence.stream
    assert (await js.stream_info(WORK)).state.messages == 2
