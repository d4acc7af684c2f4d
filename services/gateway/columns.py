"""What a job can be found, sorted and counted by.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.gateway.cursors import searchable
from services.gateway.schema import micros

if TYPE_CHECKING:
    from datetime import datetime

    from shared.contracts.job import Job
    from shared.contracts.snapshot import Snapshot

#: Characters of a title or an artist that are searched: they come from outside.
_MAX_NAME: Final = 500


def columns_of(job: Job, seen: Snapshot) -> dict[str, Any]:
    """The row of a job in ``jobs``, but for its number and its revision."""
    begun = job.resumed_at or job.started_at
    ended = job.finished_at if job.status.terminal else None
    return {
        "created": micros(job.created_at),
        "id": job.id,
        "status": job.status.value,
        "owner": job.terms.owner,
        "batch": job.batch,
        "updated": micros(job.updated_at),
        "held": job.held_at is not None,
        "progress": job.progress,
        "queued": micros(job.queued_at or job.created_at),
        "finished": micros(ended) if ended else None,
        "waited": _seconds(job.queued_at, begun),
        "ran": _seconds(begun, ended),
        "code": job.error.code.value if job.error else None,
        "text": text_of(seen),
    }


def text_of(seen: Snapshot) -> str:
    """What of a job is searched, a line each.

    Two more characters at the end: so each character of it begins a group of three.
    """
    about = seen.metadata
    names = (about.title or "", about.artist or "") if about else ("", "")
    parts = (*(name[:_MAX_NAME] for name in names), seen.source.url or "", seen.id)
    return searchable("\n".join(parts)) + "\n\n"


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    if begin is None or end is None or end < begin:
        return None
    return (end - begin).total_seconds()
