"""From workers' ticks to a job's overall progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.live import LiveProgress
from shared.contracts.commands import CancelJob
from shared.contracts.job import Job, Phase
from shared.contracts.live import Activity, Progress, Tick
from tests.support import jobs
from tests.support.jobs import JOB
from tests.support.realm import Realm

if TYPE_CHECKING:
    from tests.unit.scheduler.conftest import NewRealm


def tick(unit: str, fraction: float | None, attempt: int = 1) -> Tick:
    return Tick(
        job_id=JOB,
        stage=jobs.stage_of(unit),
        unit=unit,
        attempt=attempt,
        activity=Activity.SEPARATING,
        fraction=fraction,
        note="so far",
    )


async def live_of(new_realm: NewRealm, job: Job) -> tuple[LiveProgress, Realm]:
    realm = new_realm(job)
    await realm.scheduler.take_over()
    return LiveProgress(realm.scheduler), realm


async def test_ticks_add_up_to_progress_that_never_goes_back(new_realm: NewRealm) -> None:
    progress, realm = await live_of(new_realm, jobs.separating())
    told = [
        progress.on_tick(tick("0", 0.5)),
        progress.on_tick(tick("1", 0.5)),
        progress.on_tick(tick("0", 0.1)),
        progress.on_tick(tick("0", None)),
        progress.on_tick(tick("1", 2.0)),
        progress.on_tick(tick("1", -1.0)),
    ]
    assert [one.progress for one in told if one] == [40.0, 50.0, 50.0, 50.0, 52.0, 52.0]
    await realm.scheduler.receive(jobs.separated(0))
    later = progress.on_tick(tick("1", 0.5))
    assert later == Progress(
        job_id=JOB,
        phase=Phase.SEPARATION,
        progress=60.0,
        activity=Activity.SEPARATING,
        note="so far",
    )


@pytest.mark.parametrize(
    ("job", "late"),
    [
        (jobs.separating(), tick("0", 0.5, attempt=2)),
        (jobs.separating(), tick("0", 0.5, attempt=0)),
        (jobs.separating(), tick("2", 0.5)),
        (jobs.separating(1), tick("0", 0.5)),
        (jobs.separating(), tick("source", 0.5)),
        (jobs.pending(), tick("source", 0.5)),
        (jobs.retried(), tick("1", 0.5)),
        (jobs.cancelled(), tick("0", 0.5)),
        (jobs.separating(), replace(tick("0", 0.5), job_id="another")),
    ],
)
async def test_a_tick_of_what_is_over_is_ignored(new_realm: NewRealm, job: Job, late: Tick) -> None:
    progress, _ = await live_of(new_realm, job)
    assert progress.on_tick(late) is None


async def test_what_was_told_of_a_job_is_forgotten_with_it(new_realm: NewRealm) -> None:
    progress, realm = await live_of(new_realm, jobs.separating())
    progress.on_tick(tick("0", 1.0))
    await realm.scheduler.receive(CancelJob(job_id=JOB))
    progress.forget_finished()
    assert (progress._fractions, progress._told) == ({}, {})
