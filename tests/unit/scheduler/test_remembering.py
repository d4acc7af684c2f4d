"""What a record remembers: commands that took effect, what happened, and when."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import Dispatched, Refusal, Repeated
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.job import HEARD_LIMIT, TIMELINE_LIMIT, Phase, Status
from shared.contracts.work import Stage
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, TERMINAL, at, live

CANCEL = CancelJob(job_id=JOB)
RETRY = RetryJob(job_id=JOB)


def test_a_command_that_comes_again_does_not_undo_what_came_after_it() -> None:
    cancel, retry = replace(CANCEL, reply_to="a"), replace(RETRY, reply_to="b")
    job = live(jobs.separating(1), cancel, retry)
    assert Repeated(job) == advance(job, cancel, at(LATER))
    job = live(job, Dispatched(JOB))
    for command in (cancel, retry):
        assert Repeated(job) == advance(job, command, at(LATER))
    assert live(job, replace(cancel, reply_to="c")).status == Status.CANCELLED


def test_a_command_that_had_no_effect_is_not_remembered() -> None:
    retry = replace(RETRY, reply_to="a")
    refused = advance(jobs.separating(), retry, at())
    assert isinstance(refused, Refusal)
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0", problem=TERMINAL))
    assert live(job, retry).status == Status.PENDING


def test_commands_that_are_remembered_are_bounded() -> None:
    job = jobs.separating()
    for turn in range(HEARD_LIMIT):
        job = live(job, replace(CANCEL, reply_to=f"c{turn}"), replace(RETRY, reply_to=f"r{turn}"))
    assert len(job.heard) == HEARD_LIMIT
    assert f"retry.{JOB}.r{HEARD_LIMIT - 1}" == job.heard[-1]


def test_a_started_job_keeps_the_time_of_its_first_start() -> None:
    job = live(jobs.separating(), CANCEL, RETRY)
    assert live(job, Dispatched(JOB), now=LATER).started_at == NOW


def test_a_timeline_keeps_its_beginning_and_its_end() -> None:
    job = live(None, jobs.submit(), Dispatched(JOB))
    for turn in range(TIMELINE_LIMIT):
        job = live(job, CANCEL, RETRY, Dispatched(JOB), now=NOW + timedelta(minutes=turn))
    assert len(job.timeline) == TIMELINE_LIMIT
    assert [m.note for m in job.timeline[:3]] == ["submitted", "started", "cancelled"]
    assert NOW + timedelta(minutes=TIMELINE_LIMIT - 1) == job.timeline[-1].at
    assert sorted(moment.at for moment in job.timeline) == [moment.at for moment in job.timeline]


def test_a_timeline_says_what_happened() -> None:
    assert [(moment.status, moment.phase, moment.note) for moment in jobs.completed().timeline] == [
        (Status.PENDING, None, "submitted"),
        (Status.PROCESSING, Phase.DOWNLOAD, "started"),
        (Status.PROCESSING, Phase.SEPARATION, "downloaded"),
        (Status.PROCESSING, Phase.SEPARATION, "model htdemucs"),
        (Status.PROCESSING, Phase.FINALIZATION, "separated"),
        (Status.COMPLETED, Phase.FINALIZATION, "completed"),
    ]


def test_every_change_is_dated() -> None:
    assert live(jobs.separating(), jobs.separated(0), now=LATER).updated_at == LATER
