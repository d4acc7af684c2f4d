"""An id may be a job's or a batch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from services.cli.answers import ApiError, BatchView
from services.cli.client import Client, Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from shared.contracts.snapshot import Snapshot

J = TypeVar("J")
B = TypeVar("B")


async def job_or_batch(
    ask_job: Callable[[], Awaitable[J]], ask_batch: Callable[[], Awaitable[B]]
) -> J | B:
    """What comes of asking for a job, or of asking for a batch where there is no such job.

    If there is neither, the refusal is the one about the job.
    """
    try:
        return await ask_job()
    except ApiError as exc:
        if not exc.missing:
            raise
        try:
            return await ask_batch()
        except ApiError as other:
            raise (exc if other.missing else other) from None


async def found(client: Client, name: str) -> Snapshot | BatchView:
    """The job or the batch with this id."""
    return await job_or_batch(lambda: client.job(name), lambda: client.batch(name))


async def jobs_of(client: Client, name: str) -> AsyncIterator[Snapshot]:
    """The job with this id, or the jobs of the batch with this id."""
    one = await found(client, name)
    if not isinstance(one, BatchView):
        yield one
        return
    async for page in client.pages(Filter(batch=name), None):
        for job in page.jobs:
            yield job
