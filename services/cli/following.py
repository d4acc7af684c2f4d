"""Following a job, or a batch, until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.cli.answers import ApiError, BatchView, Gone, Place
from services.cli.client import Filter
from services.cli.events import Look
from shared.contracts.live import Progress
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.cli.client import Client
    from services.cli.events import Event

#: How often a batch that was just taken in may be unknown before it is: a minute of looks.
_LOOKS: Final = 4


async def follow_job(client: Client, job_id: str) -> AsyncIterator[Event]:
    """What happens to a job; the last event says how it ended, or that it is gone."""
    async for event in client.events(job_id):
        yield event
        if isinstance(event, Gone) or (isinstance(event, Snapshot) and event.status.terminal):
            return


async def follow_batch(client: Client, batch_id: str) -> AsyncIterator[Event]:
    """What happens to a batch and to its jobs, those that have ended included.

    The last event says how the batch ended.  The stream tells of every change after the list
    of jobs; what a batch is in sum is asked for whenever something may have been missed.
    """
    revision: int | None = None
    async for page in client.pages(Filter(batch=batch_id), None):
        revision = page.revision if revision is None else revision
        for job in page.jobs:
            yield job
    batch: BatchView | None = None
    unknown = 0
    async for event in client.events(after=revision):
        if isinstance(event, Look):
            try:
                found: Event = await client.batch(batch_id)
            except ApiError as exc:
                unknown += 1
                if not exc.missing or batch is not None or unknown > _LOOKS:
                    raise
                continue
        else:
            found = event
        if found == batch or not _is_about(found, batch_id, batch):
            continue
        yield found
        if isinstance(found, BatchView):
            batch = found
            if batch.ended:
                return


def _is_about(event: Event, batch_id: str, batch: BatchView | None) -> bool:
    """Whether an event tells of the batch, or of one of its jobs."""
    match event:
        case BatchView():
            return event.id == batch_id
        case Snapshot():
            return event.batch == batch_id
        case Progress(job_id=name) | Place(id=name) | Gone(id=name):
            return batch is not None and name in batch.jobs
        case _:
            return False
