"""Every stream, bucket and durable consumer, declared once and created by one step.

No service creates a consumer by itself: whoever may create consumers can make the broker
publish anywhere.  ``provision`` runs as the broker's administrator; services only bind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError

from shared.contracts.subjects import ALL_INBOX, ALL_WORK, stage_filter
from shared.contracts.work import Stage

if TYPE_CHECKING:
    from nats.js import JetStreamContext

INBOX: Final = "INBOX"
WORK: Final = "WORK"
JOBS: Final = "KV_jobs"
JOBS_SUBJECT: Final = "$KV.jobs."
LEASES: Final = "KV_leases"
LEASES_SUBJECT: Final = "$KV.leases."
SCHEDULER: Final = "scheduler"

#: A lease not renewed for this long is anybody's.
LEASE_SECONDS: Final = 6.0
#: A scheduler handles a message in milliseconds: one that is silent this long is gone.
SCHEDULER_ACK_WAIT: Final = 5.0
#: Workers say ``in_progress`` every ten seconds.
WORKER_ACK_WAIT: Final = 30.0
#: Messages handed out at once: more than any fleet has slots, a bound all the same.
WORKER_ACK_PENDING: Final = 512
SCHEDULER_ACK_PENDING: Final = 256
#: Messages that may wait; over it a publish fails, and the gateway answers 503.
MAX_WAITING: Final = 200_000
#: Largest record, fact or command: a job of 24 h has some 2,000 chunks.
MAX_MESSAGE_BYTES: Final = 512 << 10
#: Within this time the broker itself drops a message with a known id.
DUPLICATES_SECONDS: Final = 120.0


def streams(replicas: int) -> tuple[StreamConfig, ...]:
    """The streams and buckets, with ``replicas`` copies of each message."""
    common = {"storage": StorageType.FILE, "num_replicas": replicas}
    return (
        StreamConfig(
            name=INBOX,
            subjects=[ALL_INBOX],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_msgs=MAX_WAITING,
            max_msg_size=MAX_MESSAGE_BYTES,
            duplicate_window=DUPLICATES_SECONDS,
            **common,
        ),
        StreamConfig(
            name=WORK,
            subjects=[ALL_WORK],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            # One message a unit: ordering the same again is refused for as long as it is out.
            max_msgs_per_subject=1,
            discard_new_per_subject=True,
            max_msgs=MAX_WAITING,
            max_msg_size=MAX_MESSAGE_BYTES,
            duplicate_window=DUPLICATES_SECONDS,
            **common,
        ),
        StreamConfig(
            name=JOBS,
            subjects=[f"{JOBS_SUBJECT}>"],
            max_msgs_per_subject=1,
            allow_direct=True,
            allow_rollup_hdrs=True,
            # The marker of a removed job goes away by itself.
            allow_msg_ttl=True,
            deny_delete=True,
            discard=DiscardPolicy.NEW,
            max_msg_size=MAX_MESSAGE_BYTES,
            republish=RePublish(src=f"{JOBS_SUBJECT}>", dest="live.jobs.>"),
            **common,
        ),
        StreamConfig(
            name=LEASES,
            subjects=[f"{LEASES_SUBJECT}>"],
            max_msgs_per_subject=1,
            max_age=LEASE_SECONDS,
            duplicate_window=LEASE_SECONDS,
            allow_direct=True,
            allow_rollup_hdrs=True,
            deny_delete=True,
            discard=DiscardPolicy.NEW,
            **common,
        ),
    )


def durables() -> tuple[tuple[str, ConsumerConfig], ...]:
    """The durable consumers, each with its stream."""
    scheduler = ConsumerConfig(
        durable_name=SCHEDULER,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=SCHEDULER_ACK_WAIT,
        max_ack_pending=SCHEDULER_ACK_PENDING,
    )
    workers = (
        ConsumerConfig(
            durable_name=stage.value,
            filter_subject=stage_filter(stage),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=WORKER_ACK_WAIT,
            max_ack_pending=WORKER_ACK_PENDING,
        )
        for stage in Stage
    )
    return ((INBOX, scheduler), *((WORK, worker) for worker in workers))


async def provision(js: JetStreamContext, replicas: int = 1) -> None:
    """Create what is missing and bring what exists to this state; safe to run again."""
    for stream in streams(replicas):
        try:
            await js.add_stream(stream)
        except BadRequestError:  # exists with another configuration
            await js.update_stream(stream)
    for name, consumer in durables():
        await js.add_consumer(name, consumer)
