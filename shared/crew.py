"""One stage's work in a service: its mailbox, its host, its stop orders, its heartbeat.

Downloader and separator are built from this and a performer each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.actor.beat import Heart
from shared.actor.host import Host
from shared.actor.worker import Worker
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.live import Beat
from shared.contracts.subjects import ALL_STOPS, subject_of
from shared.contracts.work import StopOrder
from shared.jetstream.connection import broker_errors
from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.store import JobStore
from shared.jetstream.topology import WORK

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from nats.aio.msg import Msg

    from shared.actor.worker import Performer
    from shared.contracts.facts import Fact
    from shared.contracts.live import Tick
    from shared.contracts.work import Stage
    from shared.errors import Code
    from shared.service import Part, Resources


class Hosted:
    """A host as a part: it gets the service's grace."""

    def __init__(self, host: Host[Any, Fact], grace: float) -> None:
        self._host = host
        self._grace = grace

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        await self._host.run(stopping, grace=self._grace)


async def hire(  # noqa: PLR0913 - all by keyword, from wiring alone
    resources: Resources,
    stack: AsyncExitStack,
    *,
    stage: Stage,
    kind: Any,  # noqa: ANN401 - a union of works is not a type for mypy
    performer: Performer[Any],
    slots: int,
    grace: float,
    about: Callable[[Beat], Beat] = lambda beat: beat,
    ailment: Callable[[], Code | None] = lambda: None,
) -> Sequence[Part]:
    """The parts that take a stage's work: the host, and the heartbeat.

    ``about`` adds to the heartbeat what only this service can tell.  While there is an
    ``ailment`` no new work is taken, and the heartbeat says why; what is at work goes on.
    """
    nc, log, telemetry = resources.nc, resources.log, resources.telemetry

    async def tick(report: Tick) -> None:
        with broker_errors():
            await nc.publish(subject_of(report), encode(report))

    async def beat(beat: Beat) -> None:
        with broker_errors():
            await nc.publish(subject_of(beat), encode(beat))

    worker: Worker[Any] = Worker(
        worker_id=resources.instance, performer=performer, records=JobStore(nc), tick=tick
    )
    stops: Decoder[StopOrder] = Decoder(StopOrder)

    async def on_stop(message: Msg) -> None:
        try:
            worker.stop(stops.decode(message.data).job_id)
        except UndecodableError as exc:
            log.warning("undecodable stop", subject=message.subject, reason=str(exc))

    await nc.subscribe(ALL_STOPS, cb=on_stop)
    mailbox = await JetStreamMailbox.bind(nc.jetstream(), WORK, stage.value)
    stack.push_async_callback(mailbox.close)
    host: Host[Any, Fact] = Host(
        mailbox=mailbox,
        decoder=Decoder(kind),
        actor=worker,
        speaker=JetStreamSpeaker(nc, log, telemetry),
        telemetry=telemetry,
        log=log,
        slots=slots,
        may_take=lambda: ailment() is None,
    )
    telemetry.gauge(f"{stage}_slots_busy", f"Slots at work on {stage}", lambda: host.busy)

    def describe() -> Beat:
        ails = ailment()
        return about(
            Beat(
                worker=resources.instance,
                stage=stage,
                slots=slots if ails is None else 0,
                busy=host.busy,
                ailment=ails,
            )
        )

    return [Hosted(host, grace), Heart(describe, beat)]
