"""How far a job is, in percent, and when it will be done.  Pure.

Download is 0 to 30, separation 30 to 90, finalization 90 to 100.  What is done counts whole;
what is out counts by its workers' last ticks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from shared.contracts.audio import SAMPLE_RATE
from shared.contracts.job import Job, Phase, Status
from shared.contracts.unit import UnitState
from shared.contracts.work import UNIT_SOURCE, UNIT_STEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where each phase begins, in percent, and where it ends.
SPANS: Final[dict[Phase, tuple[float, float]]] = {
    Phase.DOWNLOAD: (0.0, 30.0),
    Phase.SEPARATION: (30.0, 90.0),
    Phase.FINALIZATION: (90.0, 100.0),
}


class Speeds(Struct, frozen=True, kw_only=True):
    """Measured speeds, in seconds of audio per second; None where nothing was measured yet."""

    #: Of one separator slot with the job's model.
    separation: float | None = None
    #: Separator slots that can work on the job at once.
    slots: int = 1
    #: Seconds of audio of other jobs that go first.
    ahead: float = 0.0
    #: Of encoding all stems.
    finalization: float | None = None


def reached(job: Job, fractions: Mapping[str, float] | None = None) -> float:
    """Percent of ``job``; ``fractions`` (0 to 1, by unit name) tell of units that are out."""
    if job.status is Status.COMPLETED:
        return 100.0
    if job.phase is None:
        return 0.0
    start, end = SPANS[job.phase]
    return start + (end - start) * min(1.0, _share(job, job.phase, fractions or {}))


def _share(job: Job, phase: Phase, fractions: Mapping[str, float]) -> float:
    if phase is Phase.DOWNLOAD:
        return fractions.get(UNIT_SOURCE, 0.0)
    if phase is Phase.FINALIZATION:
        return fractions.get(UNIT_STEMS, 0.0)
    if job.plan is None:
        return 0.0
    running = sum(_running(job, fractions).values())
    return (job.chunks_done + running) / job.plan.chunks


def _running(job: Job, fractions: Mapping[str, float]) -> dict[str, float]:
    """Fractions of the chunks that are out."""
    return {
        name: fraction
        for name, fraction in fractions.items()
        if name.isdigit()
        and (unit := job.units.get(name)) is not None
        and unit.state is UnitState.ORDERED
    }


def expected(job: Job, now: datetime, percent: float, speeds: Speeds) -> datetime | None:
    """When ``job``, at ``percent`` now, will be done; None while no measured speed tells."""
    if job.track is None or speeds.separation is None or job.status is not Status.PROCESSING:
        return None
    start, end = SPANS[Phase.SEPARATION]
    left = job.track.seconds * min(1.0, max(0.0, (end - percent) / (end - start)))
    chunks_left = (job.plan.chunks - job.chunks_done) if job.plan else speeds.slots
    seconds = left / (speeds.separation * max(1, min(speeds.slots, chunks_left)))
    if left > 0:
        seconds += speeds.ahead / (speeds.separation * max(1, speeds.slots))
    if speeds.finalization is not None:
        last, full = SPANS[Phase.FINALIZATION]
        share = min(1.0, (full - percent) / (full - last))
        seconds += job.track.frames / SAMPLE_RATE / speeds.finalization * share
    return now + timedelta(seconds=seconds)
