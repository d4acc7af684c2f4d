"""Where the scheduler's objects meet."""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING

from services.scheduler.actor import Scheduler
from services.scheduler.decision import Stimulus
from services.scheduler.fleet import Fleet
from services.scheduler.kv import PatientStore
from services.scheduler.live import LiveProgress
from services.scheduler.reign import Reign
from shared.actor.host import Host
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.commands import Command, Reply
from shared.contracts.facts import Fact
from shared.contracts.live import Beat, Tick
from shared.contracts.subjects import ALL_BEATS, ALL_TICKS, subject_of
from shared.contracts.work import Word
from shared.jetstream.lease import Lease
from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.store import JobStore
from shared.jetstream.topology import INBOX, SCHEDULER, SCHEDULER_ACK_WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from nats.aio.msg import Msg

    from services.scheduler.config import SchedulerConfig
    from shared.service import Part, Resources

#: Messages taken at once; handled one by one, so it only saves round trips.
BATCH = 32


async def assemble(
    config: SchedulerConfig, resources: Resources, stack: AsyncExitStack
) -> Sequence[Part]:
    """The scheduler's one part, with its subscriptions in place."""
    nc, log, telemetry = resources.nc, resources.log, resources.telemetry
    lease = Lease(nc, SCHEDULER, resources.instance)
    fleet = Fleet()
    scheduler = Scheduler(
        store=PatientStore(JobStore(nc, log), log),
        fleet=fleet,
        may_act=lambda: lease.held,
        steady=monotonic,
        chance=random.SystemRandom().random,
        max_processing=config.max_processing,
        log=log,
    )
    live = LiveProgress(scheduler)
    speaker = JetStreamSpeaker(nc, log, telemetry)
    mailbox = await JetStreamMailbox.bind(nc.jetstream(), INBOX, SCHEDULER)
    stack.push_async_callback(mailbox.close)
    telemetry.gauge("jobs_unfinished", "Jobs that have not ended", lambda: scheduler.active)
    telemetry.gauge("scheduler_leading", "1 while this scheduler is the owner", lambda: lease.held)

    ticks: Decoder[Tick] = Decoder(Tick)
    beats: Decoder[Beat] = Decoder(Beat)

    async def on_tick(message: Msg) -> None:
        if not lease.held:
            return
        try:
            progress = live.on_tick(ticks.decode(message.data))
        except UndecodableError as exc:
            log.warning("undecodable tick", subject=message.subject, reason=str(exc))
            return
        if progress is not None:
            await nc.publish(subject_of(progress), encode(progress))

    async def on_beat(message: Msg) -> None:
        try:
            fleet.heard(beats.decode(message.data), monotonic())
        except UndecodableError as exc:
            log.warning("undecodable heartbeat", subject=message.subject, reason=str(exc))
        scheduler.stirred.set()

    await nc.subscribe(ALL_TICKS, cb=on_tick)
    await nc.subscribe(ALL_BEATS, cb=on_beat)

    def new_host() -> Host[Stimulus, Word | Reply]:
        return Host(
            mailbox=mailbox,
            decoder=Decoder(Command | Fact),
            actor=scheduler,
            speaker=speaker,
            telemetry=telemetry,
            log=log,
            batch=BATCH,
            in_progress_seconds=SCHEDULER_ACK_WAIT / 3,
        )

    reign = Reign(
        lease=lease,
        scheduler=scheduler,
        new_host=new_host,
        speaker=speaker,
        live=live,
        grace=config.grace_seconds,
        log=log,
    )
    return [reign]
