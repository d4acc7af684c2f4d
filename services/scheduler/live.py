"""From workers' ticks to a job's overall progress: never backwards, never invented."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.scheduler.progress import expected, reached
from shared.contracts.job import Status
from shared.contracts.live import Progress
from shared.contracts.unit import UnitState

if TYPE_CHECKING:
    from services.scheduler.actor import Scheduler
    from shared.contracts.job import Job
    from shared.contracts.live import Tick


class LiveProgress:
    """The newest fractions of the units that are out, and the highest percent told so far."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._fractions: dict[str, dict[str, tuple[int, float]]] = {}
        self._told: dict[str, float] = {}

    def on_tick(self, tick: Tick) -> Progress | None:
        """What to tell the gateways; None for a tick of something that is over."""
        job = self._scheduler.job(tick.job_id)
        if job is None or job.status is not Status.PROCESSING or job.phase is None:
            return None
        unit = job.units.get(tick.unit)
        if unit is None or (unit.state, unit.attempt) != (UnitState.ORDERED, tick.attempt):
            return None
        fractions = self._fractions.setdefault(job.id, {})
        if tick.fraction is not None:
            fractions[tick.unit] = (tick.attempt, min(1.0, max(0.0, tick.fraction)))
        percent = max(
            reached(job, _current(job, fractions)), job.progress, self._told.get(job.id, 0.0)
        )
        self._told[job.id] = percent
        now = datetime.now(UTC)
        return Progress(
            job_id=job.id,
            phase=job.phase,
            progress=round(percent, 2),
            activity=tick.activity,
            note=tick.note,
            eta=expected(job, now, percent, self._scheduler.speeds(job)),
        )

    def forget_finished(self) -> None:
        """Drop what is known of jobs that are not active any more."""
        for known in (self._fractions, self._told):
            for job_id in [job_id for job_id in known if self._scheduler.job(job_id) is None]:
                known.pop(job_id)


def _current(job: Job, fractions: dict[str, tuple[int, float]]) -> dict[str, float]:
    """The fractions that belong to attempts still out."""
    return {
        name: fraction
        for name, (attempt, fraction) in fractions.items()
        if (unit := job.units.get(name)) is not None
        and (unit.state, unit.attempt) == (UnitState.ORDERED, attempt)
    }
