"""What is forgotten: jobs that ended long ago, and the oldest when they take too much room."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import datetime

    from services.scheduler.archive import Archive

#: Jobs that are forgotten in one turn: other messages have theirs in between.
STRIDE: Final = 10
#: A batch without jobs is looked at again only after this long: its jobs may not be made yet.
BATCH_SECONDS: Final = 60.0
_FOREVER: Final = 100 * 365 * 24 * 3600.0


class RetentionLimits(Struct, frozen=True, kw_only=True):
    """For how long, and up to which size, finished jobs are kept; 0: no limit."""

    #: Seconds since a job's end.
    seconds: float = 30 * 24 * 3600.0
    #: Bytes of all tracks and results.
    bytes: int = 0


def expired(archive: Archive, now: datetime, limits: RetentionLimits) -> list[str]:
    """Ids of finished jobs to forget now, the oldest first; at most ``STRIDE``."""
    if limits.seconds:
        before = now - timedelta(seconds=limits.seconds)
        if found := archive.oldest(STRIDE, before):
            return [job_id for job_id, _ in found]
    if not limits.bytes:
        return []
    over = archive.stored_bytes - limits.bytes
    chosen = []
    for job_id, size in archive.oldest(STRIDE):
        if over <= 0:
            break
        chosen.append(job_id)
        over -= size
    return chosen


def expired_batches(archive: Archive, now: datetime, limits: RetentionLimits) -> list[str]:
    """Ids of batches to forget now: nothing of them is left."""
    changed = now - timedelta(seconds=BATCH_SECONDS)
    # One whose playlist could not be read is kept as long as a job that has failed.
    ended = now - timedelta(seconds=limits.seconds or _FOREVER)
    return archive.empty_batches(changed, ended, STRIDE)
