"""Events as they go over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from services.gateway.places import place_of
from services.gateway.projection import JOB
from services.gateway.ring import Frame
from shared.contracts.codec import encode

if TYPE_CHECKING:
    from services.gateway.overview import BatchBody
    from services.gateway.projection import Mark
    from shared.contracts.live import Progress
    from shared.contracts.snapshot import Snapshot


class _Named(Struct, frozen=True):
    id: str


def job_frame(revision: int | None, seen: Snapshot) -> Frame:
    """A job's new state; its id is the revision, if it is its own record that has changed."""
    return _frame("job", seen, job_id=seen.id, revision=revision, last=seen.status.terminal)


def gone_frame(gone: Mark) -> Frame:
    """A job, or a batch, has been removed."""
    body = _Named(gone.id)
    if gone.kind == JOB:
        return _frame("gone", body, job_id=gone.id, revision=gone.revision, last=True)
    return _frame("batch_gone", body, revision=gone.revision)


def batch_frame(revision: int | None, body: BatchBody) -> Frame:
    """A batch's new state; without an id where only what has come of its jobs has changed."""
    return _frame("batch", body, revision=revision)


def progress_frame(progress: Progress) -> Frame:
    """What ticks tell; has no id, may be skipped."""
    return _frame("progress", progress, job_id=progress.job_id)


def place_frame(seen: Snapshot) -> Frame:
    """A job's new place in the queue; has no id, may be skipped."""
    return _frame("queue", place_of(seen), job_id=seen.id)


def _frame(
    event: str, data: Struct, *, job_id: str = "", revision: int | None = None, last: bool = False
) -> Frame:
    known = b"" if revision is None else b"id: %d\n" % revision
    text = b"%bevent: %b\ndata: %b\n\n" % (known, event.encode(), encode(data))
    return Frame(job_id, revision, last, text)
