"""Which waiting jobs start now.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared.contracts.job import Job, Phase, Status, UnitState
from shared.contracts.work import UNIT_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable


class Capacity(Struct, frozen=True, kw_only=True):
    """What the fleet can take, as its heartbeats say."""

    download_slots: int
    separate_slots: int
    #: Jobs that may be processing at once, whatever the fleet: bounds temporary blobs.
    max_processing: int


def chunk_window(capacity: Capacity) -> int:
    """Chunks of one job that may be out: every slot busy, and the next chunk at hand."""
    return max(2, capacity.separate_slots + 1)


def choose(jobs: Iterable[Job], capacity: Capacity) -> list[str]:
    """Ids of the waiting jobs to start, first come first served.

    A job that still has to download needs a download slot; one that resumes later does not.
    """
    waiting: list[Job] = []
    processing = downloading = 0
    for job in jobs:
        if job.status is Status.PENDING:
            waiting.append(job)
        elif job.status is Status.PROCESSING:
            processing += 1
            downloading += job.phase is Phase.DOWNLOAD and not _pauses(job)
    free = capacity.max_processing - processing
    free_downloads = capacity.download_slots - downloading
    chosen: list[str] = []
    for job in sorted(waiting, key=lambda job: (job.created_at, job.id)):
        if len(chosen) >= free:
            break
        downloads = job.phase in {None, Phase.DOWNLOAD}
        if downloads and free_downloads <= 0:
            continue
        free_downloads -= downloads
        chosen.append(job.id)
    return chosen


def _pauses(job: Job) -> bool:
    """Whether the download waits for the time of its next attempt: it takes no slot then.

    When the time comes, it may have to queue behind what took its place.
    """
    unit = job.units.get(UNIT_SOURCE)
    return unit is not None and unit.state is UnitState.WAITING
