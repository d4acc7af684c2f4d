"""A batch as clients see it: its record, and what has come of its jobs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from shared.contracts.batch import BatchSnapshot, BatchStatus
from shared.contracts.job import Status

if TYPE_CHECKING:
    from services.gateway.projection import Projection
    from services.gateway.tallies import Sum, Tallies


class State(StrEnum):
    """Where a batch with all its jobs stands."""

    #: Its playlist is being read.
    EXPANDING = "expanding"
    #: Some of its jobs have not ended.
    PROCESSING = "processing"
    #: All its jobs have completed.
    COMPLETED = "completed"
    #: All have ended, some have failed; or its playlist could not be read.
    FAILED = "failed"
    #: All have ended, none has failed, some were called off.
    CANCELLED = "cancelled"


class BatchBody(BatchSnapshot, frozen=True, kw_only=True):
    """The body of answers and events about a batch."""

    state: State
    #: 0 to 100: the mean over its jobs.
    progress: float
    #: Its jobs by status; those that are still to be made count as pending.
    counts: dict[str, int]


def overview(seen: BatchSnapshot, submitted: int, jobs: Sum) -> BatchBody:
    """The batch with what has come of its jobs; those that were removed don't count any more."""
    made = sum(jobs.counts.values())
    coming = 0
    if seen.status is BatchStatus.EXPANDED:
        coming = max(0, len(seen.jobs) - max(submitted, made))
    counts = {status.value: jobs.counts.get(status, 0) for status in Status}
    counts[Status.PENDING] += coming
    state = _state(seen.status, counts)
    total = made + coming
    progress = jobs.progress / total if total else 100.0 * (state is State.COMPLETED)
    members = {name: getattr(seen, name) for name in seen.__struct_fields__}
    return BatchBody(**members, state=state, progress=round(progress, 1), counts=counts)


def _state(status: BatchStatus, counts: dict[str, int]) -> State:
    if status is BatchStatus.EXPANDING:
        return State.EXPANDING
    if any(counts[waiting] for waiting in Status if not waiting.terminal):
        return State.PROCESSING
    if counts[Status.FAILED] or status is BatchStatus.FAILED:
        return State.FAILED
    if counts[Status.CANCELLED] or status is BatchStatus.CANCELLED:
        return State.CANCELLED
    return State.COMPLETED


class Overviews:
    """Bodies about batches, from the read model."""

    def __init__(self, *, projection: Projection, tallies: Tallies) -> None:
        self._projection = projection
        self._tallies = tallies

    def of(self, seen: BatchSnapshot) -> BatchBody:
        """The body about a batch that was read or told just now."""
        known = self._projection.batch(seen.id)
        return overview(seen, known.submitted if known else 0, self._tallies.batch(seen.id))
