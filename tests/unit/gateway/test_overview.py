"""What has come of a batch: whole tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.overview import BatchBody, State, overview
from services.gateway.tallies import Sum
from shared.contracts.batch import BatchSnapshot, BatchStatus, batch_snapshot
from shared.contracts.codec import Decoder, encode
from shared.contracts.job import Status
from tests.support import batches, jobs

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Model

DONE = batch_snapshot(batches.submitted())


def of(status: BatchStatus, songs: int = 4) -> BatchSnapshot:
    ids = tuple(f"b1-{number}" for number in range(songs))
    return replace(DONE, status=status, jobs=ids)


@pytest.mark.parametrize(
    ("status", "submitted", "counts", "percents", "state", "progress", "pending"),
    [
        (BatchStatus.EXPANDING, 0, {}, 0.0, State.EXPANDING, 0.0, 0),
        (BatchStatus.FAILED, 0, {}, 0.0, State.FAILED, 0.0, 0),
        (BatchStatus.CANCELLED, 0, {}, 0.0, State.CANCELLED, 0.0, 0),
        # Jobs that are still to be made wait, too.
        (BatchStatus.EXPANDED, 0, {}, 0.0, State.PROCESSING, 0.0, 4),
        (BatchStatus.EXPANDED, 2, {"completed": 2}, 200.0, State.PROCESSING, 50.0, 2),
        (BatchStatus.EXPANDED, 1, {"completed": 3}, 300.0, State.PROCESSING, 75.0, 1),
        (BatchStatus.EXPANDED, 4, {"pending": 4}, 0.0, State.PROCESSING, 0.0, 4),
        (BatchStatus.EXPANDED, 4, {"scheduled": 4}, 0.0, State.PROCESSING, 0.0, 0),
        (
            *(BatchStatus.EXPANDED, 4, {"processing": 1, "failed": 3}),
            *(70.0, State.PROCESSING, 17.5, 0),
        ),
        (BatchStatus.EXPANDED, 4, {"completed": 4}, 400.0, State.COMPLETED, 100.0, 0),
        (
            *(BatchStatus.EXPANDED, 4, {"completed": 2, "failed": 1, "cancelled": 1}),
            *(230.0, State.FAILED, 57.5, 0),
        ),
        (
            *(BatchStatus.EXPANDED, 4, {"completed": 3, "cancelled": 1}),
            *(310.0, State.CANCELLED, 77.5, 0),
        ),
        # Removed ones don't count any more.
        (BatchStatus.EXPANDED, 4, {"completed": 1}, 100.0, State.COMPLETED, 100.0, 0),
        (BatchStatus.EXPANDED, 4, {}, 0.0, State.COMPLETED, 100.0, 0),
        # Called off: what has not been made never will be.
        (BatchStatus.CANCELLED, 1, {"completed": 1}, 100.0, State.CANCELLED, 100.0, 0),
        (BatchStatus.CANCELLED, 2, {"pending": 1, "cancelled": 1}, 0.0, State.PROCESSING, 0.0, 1),
        (BatchStatus.CANCELLED, 2, {"failed": 1, "cancelled": 1}, 0.0, State.FAILED, 0.0, 0),
    ],
)
def test_a_batch_is_what_its_jobs_are(
    status: BatchStatus,
    submitted: int,
    counts: dict[str, int],
    percents: float,
    state: State,
    progress: float,
    pending: int,
) -> None:
    body = overview(of(status), submitted, Sum(counts, percents))
    assert (state, progress, pending) == (body.state, body.progress, body.counts["pending"])
    assert set(body.counts) == set(Status)


def test_a_body_has_everything_of_the_snapshot_in_it() -> None:
    body = overview(DONE, 3, Sum({}, 0.0))
    assert Decoder[BatchSnapshot](BatchSnapshot).decode(encode(body)) == DONE
    assert set(BatchBody.__struct_fields__) - set(BatchSnapshot.__struct_fields__) == {
        "state",
        "progress",
        "counts",
    }


def test_the_read_model_knows_how_far_they_are(model: Model) -> None:
    model.projection.store_batch(1, batches.submitted())
    for number, status in enumerate((Status.COMPLETED, Status.FAILED, Status.PROCESSING)):
        job = replace(jobs.OF_STATUS[status](), id=f"b1-{number}", batch="b1")
        model.projection.store(number + 2, job)
    model.projection.store(9, replace(jobs.completed(), id="other"))
    model.projection.advance("b1-2", 60.0)
    body = model.overviews.of(DONE)
    assert (body.state, body.counts["completed"], body.counts["failed"]) == (State.PROCESSING, 1, 1)
    assert body.progress == round((100.0 + jobs.broken().progress + 60.0) / 3, 1)
