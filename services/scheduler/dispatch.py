"""Which waiting jobs start now, and in which order all of them will.  Pure.

First what was moved to the front; then by priority, where waiting counts: after each
``ageing`` seconds a job is treated as one of the next higher priority.  Within one level every
owner gets a fair share, and each owner's jobs go by deadline, then by age.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from msgspec import Struct

from shared.contracts.job import Job, Phase
from shared.contracts.request import Priority

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

#: From the one that goes first.
LEVELS: Final[Mapping[Priority, int]] = {
    Priority.HIGH: 0,
    Priority.NORMAL: 1,
    Priority.LOW: 2,
}
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

#: Starts that each owner has had, as far as it matters: those of owners with unfinished jobs.
Shares = dict[str, int]


class Capacity(Struct, frozen=True, kw_only=True):
    """What the fleet can take, as its heartbeats say."""

    download_slots: int
    separate_slots: int
    #: Jobs that may be processing at once, whatever the fleet: bounds temporary blobs.
    max_processing: int


class Gate(Protocol):
    """Keeps jobs from being started for a reason of their own: their site is left alone."""

    def lets(self, job: Job) -> bool:
        """Whether ``job`` may start now; if so, it is taken to be started."""


class Choice(NamedTuple):
    """Who starts, and what each owner has had then."""

    job_ids: list[str]
    shares: Shares


def level(job: Job, now: datetime, ageing: float) -> int:
    """The priority that ``job`` has by now; 0 goes first."""
    waited = (now - (job.queued_at or job.created_at)).total_seconds()
    return max(0, LEVELS[job.terms.priority] - max(0, int(waited // ageing)))


def in_order(
    waiting: Iterable[Job], shares: Mapping[str, int], now: datetime, ageing: float
) -> Iterator[Job]:
    """The waiting jobs in the order of their turns, should each take its turn at once."""
    fronts: list[Job] = []
    levels: dict[int, dict[str, list[tuple[datetime, datetime, str, Job]]]] = {}
    for job in waiting:
        if job.front_at is not None:
            fronts.append(job)
            continue
        owners = levels.setdefault(level(job, now, ageing), {})
        place = (job.terms.deadline or _NEVER, job.queued_at or job.created_at, job.id, job)
        owners.setdefault(job.terms.owner, []).append(place)
    had = dict(shares)
    for job in sorted(fronts, key=lambda job: (job.front_at, job.id), reverse=True):
        had[job.terms.owner] = had.get(job.terms.owner, 0) + 1
        yield job
    for number in sorted(levels):
        yield from _fairly(levels[number], had)


def _fairly(
    owners: dict[str, list[tuple[datetime, datetime, str, Job]]], had: Shares
) -> Iterator[Job]:
    """One job of whoever has had least, again and again; ``had`` counts along."""
    for places in owners.values():
        heapq.heapify(places)
    turns = [(had.get(owner, 0), places[0][:3], owner) for owner, places in owners.items()]
    heapq.heapify(turns)
    while turns:
        _, _, owner = heapq.heappop(turns)
        places = owners[owner]
        job = heapq.heappop(places)[3]
        had[owner] = had.get(owner, 0) + 1
        if places:
            heapq.heappush(turns, (had[owner], places[0][:3], owner))
        yield job


def choose(
    waiting: Iterable[Job],
    processing: Collection[Job],
    *,
    capacity: Capacity,
    shares: Mapping[str, int],
    gate: Gate,
    now: datetime,
    ageing: float,
) -> Choice:
    """The waiting jobs to start now.

    A job that still has to download needs a download slot; one that resumes later does not.
    """
    had = dict(shares)
    free = capacity.max_processing - len(processing)
    free_downloads = capacity.download_slots - sum(map(takes_download_slot, processing))
    chosen: list[str] = []
    if free <= 0:
        return Choice(chosen, had)
    for job in in_order(waiting, had, now, ageing):
        if len(chosen) >= free:
            break
        if (downloads(job) and free_downloads <= 0) or not gate.lets(job):
            continue
        free_downloads -= downloads(job)
        had[job.terms.owner] = had.get(job.terms.owner, 0) + 1
        chosen.append(job.id)
    return Choice(chosen, had)


def levelled(shares: Mapping[str, int], owners: Collection[str]) -> Shares:
    """The shares of these owners: who comes anew begins with the least of the others.

    So nobody saves turns up, and nobody has to catch up with what others had before.
    """
    least = min((shares[owner] for owner in owners if owner in shares), default=0)
    return {owner: shares.get(owner, least) - least for owner in owners}


def downloads(job: Job) -> bool:
    """Whether it begins, or began, with a download."""
    return job.phase in {None, Phase.DOWNLOAD}


def takes_download_slot(job: Job) -> bool:
    """Whether a processing job's download is out.

    One that waits for its next attempt takes no slot; when the time comes, it may have to queue
    behind what took its place.
    """
    return job.phase is Phase.DOWNLOAD and not any(unit.retry_at for unit in job.units.values())
