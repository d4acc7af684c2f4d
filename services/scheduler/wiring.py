"""Where the scheduler's objects meet."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from services.scheduler.actor import Message, Scheduler
from services.scheduler.archive import Archive
from services.scheduler.batches import Batches
from services.scheduler.breaker import BreakerLimits
from services.scheduler.deciding import Decider, LifeLimits
from services.scheduler.decision import TimeLimits
from services.scheduler.dispatcher import Dispatcher, QueueLimits
from services.scheduler.fleet import Fleet
from services.scheduler.kv import PatientStore
from services.scheduler.ledger import Ledger
from services.scheduler.live import LiveProgress
from services.scheduler.outlook import Outlook
from services.scheduler.precedents import Precedents
from services.scheduler.records import Records
from services.scheduler.reign import Reign
from services.scheduler.retention import RetentionLimits
from shared.actor.host import Host
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.commands import Command, Reply
from shared.contracts.facts import Fact
from shared.contracts.job import Phase
from shared.contracts.live import Beat, Queue, Tick
from shared.contracts.subjects import ALL_BEATS, ALL_TICKS, subject_of
from shared.contracts.work import Word
from shared.jetstream.connection import broker_errors
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
    scratch = Path(config.scratch_dir)
    scratch.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing is served yet
    archive = Archive(scratch / f"{resources.instance}.sqlite")
    stack.callback(archive.close)
    fleet, chance = Fleet(), random.SystemRandom().random
    now = partial(datetime.now, UTC)
    limits = LifeLimits(times=_times(config))
    ledger = Ledger(limits.times)
    records = Records(store=PatientStore(JobStore(nc, log), log), ledger=ledger, archive=archive)
    dispatcher = Dispatcher(
        ledger=ledger,
        fleet=fleet,
        steady=monotonic,
        limits=QueueLimits(
            max_processing=config.max_processing,
            max_waiting=config.max_waiting,
            max_waiting_per_owner=config.max_waiting_per_owner,
            ageing=config.ageing_seconds,
        ),
        breakers=BreakerLimits(
            refusals=config.site_refusals,
            first_pause=config.site_pause_seconds,
            longest_pause=config.site_longest_pause_seconds,
        ),
    )
    decider = Decider(
        records=records,
        dispatcher=dispatcher,
        fleet=fleet,
        precedents=Precedents(
            records=records, fleet=fleet, steady=monotonic, reuse_seconds=config.reuse_seconds
        ),
        may_act=lambda: lease.held,
        now=now,
        chance=chance,
        limits=limits,
        log=log,
    )
    scheduler = Scheduler(
        records=records,
        dispatcher=dispatcher,
        decider=decider,
        batches=Batches(
            records=records,
            decider=decider,
            dispatcher=dispatcher,
            now=now,
            chance=chance,
            limits=limits,
            log=log,
        ),
        retention=RetentionLimits(seconds=config.keep_seconds, bytes=config.keep_bytes),
        now=now,
        steady=monotonic,
        log=log,
    )
    live = LiveProgress(scheduler)
    speaker = JetStreamSpeaker(nc, log, telemetry)
    mailbox = await JetStreamMailbox.bind(nc.jetstream(), INBOX, SCHEDULER)
    stack.push_async_callback(mailbox.close)
    telemetry.gauge("jobs_unfinished", "Jobs that have not ended", lambda: scheduler.active)
    telemetry.gauge("jobs_queued", "Jobs that have not been started", lambda: ledger.queued)
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

    async def send(queue: Queue) -> None:
        with broker_errors():
            await nc.publish(subject_of(queue), encode(queue))

    def new_host() -> Host[Message, Word | Reply]:
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
        outlook=Outlook(send=send, steady=monotonic),
        grace=config.grace_seconds,
        steady=monotonic,
        log=log,
    )
    return [reign]


def _times(config: SchedulerConfig) -> TimeLimits:
    return TimeLimits(
        phases={
            Phase.DOWNLOAD: config.max_download_seconds,
            Phase.SEPARATION: config.max_separation_seconds,
            Phase.FINALIZATION: config.max_finalization_seconds,
        },
        job=config.max_job_seconds,
    )
