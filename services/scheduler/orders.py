"""What a processing job needs next: from what is done to what shall be ordered.  Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from shared.contracts.audio import Metadata
from shared.contracts.job import Job
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
    Work,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Orders that one decision gives, at most: they lie in the job's record until they are said, and a
#: record has its limit.  Slots that are still free are given away by the next decision.
ORDERS_AT_ONCE: Final = 64
_NO_TRACK: Final = "only the source can be ordered before there is a track"
_NO_PLAN: Final = "only the preparation can be ordered before there is a plan"


def next_orders(job: Job, window: int, again: tuple[str, ...] = ()) -> tuple[Job, tuple[Work, ...]]:
    """Order what can be done now; the job with these units marked, and the work.

    ``window`` bounds the chunks that are out at once.  ``again`` names units that are marked
    as ordered already and have to be said.
    """
    units = dict(job.units)
    names = list(again)
    for name in islice(needed(job, window), ORDERS_AT_ONCE):
        unit = units.get(name)
        attempt = max(unit.attempt if unit else 0, job.attempt_floor) + 1
        units[name] = Unit(UnitState.ORDERED, attempt, unit.failures if unit else 0)
        names.append(name)
    job = replace(job, units=units)
    return job, tuple(order(job, name) for name in names)


def needed(job: Job, window: int) -> Iterator[str]:
    """Names of the units that can start now and are not out, in the order they shall run."""
    if not _done(job, UNIT_SOURCE):
        yield from _idle(job, UNIT_SOURCE)
    elif not _done(job, UNIT_PREPARE) or job.plan is None:
        yield from _idle(job, UNIT_PREPARE)
    elif job.chunks_done < job.plan.chunks:
        yield from _chunks(job, job.plan.chunks, window)
    else:
        yield from _idle(job, UNIT_STEMS)


def _chunks(job: Job, chunks: int, window: int) -> Iterator[str]:
    out = sum(
        1 for name, unit in job.units.items() if name.isdigit() and unit.state is UnitState.ORDERED
    )
    for chunk in range(chunks):
        if out >= window:
            return
        if not _done(job, str(chunk)):
            for name in _idle(job, str(chunk)):
                out += 1
                yield name


def _idle(job: Job, name: str) -> Iterator[str]:
    unit = job.units.get(name)
    if unit is None or not _is_out(unit):
        yield name


def _is_out(unit: Unit) -> bool:
    """Ordered, or waiting for the time of its next attempt."""
    return unit.state is UnitState.ORDERED or unit.retry_at is not None


def _done(job: Job, name: str) -> bool:
    unit = job.units.get(name)
    return unit is not None and unit.state is UnitState.DONE


def order(job: Job, name: str) -> Work:
    """The work that unit ``name`` of ``job`` stands for."""
    attempt = job.units[name].attempt
    if name == UNIT_SOURCE:
        return DownloadWork(job_id=job.id, attempt=attempt, source=job.source)
    if job.track is None:
        raise AssertionError(_NO_TRACK)
    if name == UNIT_PREPARE:
        return PrepareWork(job_id=job.id, attempt=attempt, options=job.options, track=job.track)
    if job.plan is None:
        raise AssertionError(_NO_PLAN)
    if name == UNIT_STEMS:
        return FinalizeWork(
            job_id=job.id,
            attempt=attempt,
            run=job.run_id,
            track=job.track,
            plan=job.plan,
            attempts=tuple(job.units[str(chunk)].attempt for chunk in range(job.plan.chunks)),
            format=job.options.format,
            metadata=job.metadata or Metadata(),
        )
    return SeparateWork(
        job_id=job.id,
        unit=name,
        attempt=attempt,
        run=job.run_id,
        chunk=int(name),
        track=job.track,
        plan=job.plan,
    )
