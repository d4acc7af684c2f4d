"""Single rules: what is ordered, what waits how long, what a cancel and a retry leave."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Changed,
    Dispatched,
    Due,
    RetryLimits,
    Stale,
)
from services.scheduler.rules.record import pause
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.facts import Downloaded, Finalized, Prepared
from shared.contracts.job import Job, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
    Stage,
    StopOrder,
    SweepWork,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, TERMINAL, at, done, live, ordered

CANCEL = CancelJob(job_id=JOB)
RETRY = RetryJob(job_id=JOB)


def chunk_orders(job: Job) -> list[tuple[str, int]]:
    return [(word.unit, word.attempt) for word in job.outbox if isinstance(word, SeparateWork)]


def test_a_whole_life_orders_each_step_from_the_one_before() -> None:
    job = live(None, jobs.submit())
    said: list[tuple[object, ...]] = []
    for stimulus in (
        Dispatched(JOB),
        jobs.downloaded(),
        jobs.prepared(),
        jobs.separated(0),
        jobs.separated(1),
        jobs.separated(2),
        jobs.finalized(),
    ):
        job = live(job, stimulus)
        said.append(tuple((type(word), getattr(word, "unit", None)) for word in job.outbox))
    assert said == [
        ((DownloadWork, UNIT_SOURCE),),
        ((PrepareWork, UNIT_PREPARE),),
        ((SeparateWork, "0"), (SeparateWork, "1")),
        ((SeparateWork, "2"),),
        (),
        ((FinalizeWork, UNIT_STEMS),),
        ((SweepWork, "sweep"),),
    ]
    assert (Status.COMPLETED, 100.0, jobs.result()) == (job.status, job.progress, job.result)


def test_chunks_may_be_done_in_any_order() -> None:
    job = live(jobs.separating(), jobs.separated(1), jobs.separated(2), jobs.separated(0))
    (order,) = job.outbox
    assert isinstance(order, FinalizeWork)
    assert order.attempts == (1, 1, 1)


@pytest.mark.parametrize(
    ("failures", "chance", "asked", "seconds"),
    [
        (1, 0.0, None, 1.0),
        (1, 1.0, None, 1.5),
        (2, 0.0, None, 2.0),
        (3, 0.0, None, 4.0),
        (3, 0.5, None, 5.0),
        (8, 0.0, None, 128.0),
        (9, 0.0, None, 256.0),
        (10, 0.0, None, 300.0),
        (60, 1.0, None, 300.0),
        (1, 0.0, 30.0, 30.0),
        (6, 0.0, 30.0, 32.0),
        (1, 0.0, 9999.0, 300.0),
        (1, 0.0, -5.0, 1.0),
    ],
)
def test_the_pause_before_another_attempt(
    failures: int, chance: float, asked: float | None, seconds: float
) -> None:
    problem = Problem.of(RetryableError(Code.SOURCE_RATE_LIMITED, retry_after=asked))
    assert timedelta(seconds=seconds) == pause(failures, problem, at(chance=chance))


@pytest.mark.parametrize(
    ("job", "stage", "unit"),
    [
        (jobs.downloading(), Stage.DOWNLOAD, UNIT_SOURCE),
        (jobs.preparing(), Stage.SEPARATE, UNIT_PREPARE),
        (jobs.separating(), Stage.SEPARATE, "0"),
        (jobs.finalizing(), Stage.FINALIZE, UNIT_STEMS),
    ],
)
def test_a_unit_is_tried_as_often_as_its_stage_allows_and_then_the_job_fails(
    job: Job, stage: Stage, unit: str
) -> None:
    allowed = RetryLimits().attempts[stage]
    for attempt in range(1, allowed):
        job = live(job, jobs.failed(stage, unit, attempt))
        waiting = job.units[unit]
        assert (UnitState.WAITING, attempt, attempt) == (
            waiting.state,
            waiting.attempt,
            waiting.failures,
        )
        assert waiting.retry_at is not None
        assert (job.status, job.outbox) == (Status.PROCESSING, ())
        job = live(job, Due(JOB), now=waiting.retry_at)
        assert ordered(attempt + 1, attempt) == job.units[unit]
        assert [(unit, attempt + 1)] == [
            (word.unit, word.attempt) for word in job.outbox if not isinstance(word, StopOrder)
        ]
    job = live(job, jobs.failed(stage, unit, allowed))
    assert (Status.FAILED, jobs.RETRYABLE, (StopOrder(job_id=JOB),)) == (
        job.status,
        job.error,
        job.outbox,
    )


def test_a_failure_that_no_retry_can_help_fails_the_job_at_once() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0", problem=TERMINAL), now=LATER)
    assert (
        job.status,
        job.error,
        job.finished_at,
        job.eta,
    ) == (Status.FAILED, TERMINAL, LATER, None)
    assert (StopOrder(job_id=JOB),) == job.outbox


def test_a_unit_is_not_ordered_again_before_its_time() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0"))
    retry_at = job.units["0"].retry_at
    assert retry_at is not None
    early = advance(job, Due(JOB), at(retry_at - timedelta(microseconds=1)))
    assert not isinstance(early, Changed)
    assert chunk_orders(live(job, Due(JOB), now=retry_at)) == [("0", 2)]


def test_only_what_is_due_is_ordered_again() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0"))
    job = live(job, jobs.failed(Stage.SEPARATE, "1"), now=NOW + timedelta(seconds=30))
    job = live(job, Due(JOB), now=NOW + timedelta(seconds=10), window=1)
    assert (chunk_orders(job), job.units["1"].state) == ([("0", 2)], UnitState.WAITING)


def test_a_job_that_never_began_is_cancelled_with_nothing_to_sweep() -> None:
    for job in (jobs.pending(), jobs.scheduled()):
        ended = live(job, CANCEL)
        assert (ended.status, ended.outbox, ended.run_at) == (Status.CANCELLED, (), None)


@pytest.mark.parametrize(
    ("job", "kept"),
    [
        (jobs.downloading(), {}),
        (jobs.preparing(), {UNIT_SOURCE: done()}),
        (jobs.separating(2), {UNIT_SOURCE: done(), UNIT_PREPARE: done()}),
        (jobs.finalizing(), {UNIT_SOURCE: done(), UNIT_PREPARE: done()}),
        (jobs.retried(), {UNIT_SOURCE: done(), UNIT_PREPARE: done()}),
    ],
    ids=["downloading", "preparing", "separating", "finalizing", "retried"],
)
def test_a_cancel_stops_and_sweeps_and_keeps_only_what_is_not_swept(
    job: Job, kept: dict[str, Unit]
) -> None:
    ended = live(job, CANCEL, now=LATER)
    assert (Status.CANCELLED, kept, LATER) == (ended.status, ended.units, ended.finished_at)
    assert (StopOrder(job_id=JOB), SweepWork(job_id=JOB, attempt=1)) == ended.outbox


def test_a_cancel_sweeps_up_to_the_highest_attempt_and_a_retry_counts_on_above() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "1"))
    job = live(job, Due(JOB), now=LATER)
    job = live(job, jobs.separated(0), CANCEL)
    assert SweepWork(job_id=JOB, attempt=2) == job.outbox[-1]
    again = live(job, RETRY, Dispatched(JOB))
    assert chunk_orders(again) == [("0", 3), ("1", 3)]
    twice = live(again, CANCEL)
    assert SweepWork(job_id=JOB, attempt=3) == twice.outbox[-1]
    assert chunk_orders(live(twice, RETRY, Dispatched(JOB))) == [("0", 4), ("1", 4)]


def test_a_job_cancelled_twice_while_it_waits_still_counts_on() -> None:
    job = live(jobs.downloading(), CANCEL, RETRY, CANCEL, RETRY, Dispatched(JOB))
    (order,) = job.outbox
    assert isinstance(order, DownloadWork)
    assert order.attempt == 2


def test_what_was_swept_once_stays_below_however_often_a_job_is_cancelled() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "1"))
    job = live(job, Due(JOB), now=LATER)
    job = live(job, CANCEL, RETRY, CANCEL, RETRY, Dispatched(JOB))
    assert chunk_orders(job) == [("0", 3), ("1", 3)]


def test_a_retry_after_a_failure_keeps_what_is_done_and_orders_the_rest_anew() -> None:
    job = jobs.retried()
    assert (job.status, job.error, job.finished_at) == (Status.PENDING, None, None)
    assert [done(), done(), done()] == [job.units[name] for name in ("source", "prepare", "0")]
    assert {UnitState.WAITING} == {job.units[name].state for name in ("1", "2")}
    again = live(job, Dispatched(JOB))
    assert chunk_orders(again) == [("1", 2), ("2", 2)]
    job = live(again, jobs.separated(1, 2), jobs.separated(2, 2))
    (order,) = job.outbox
    assert isinstance(order, FinalizeWork)
    assert order.attempts == (1, 2, 2)


def test_a_retry_starts_with_a_clean_record_of_failures() -> None:
    job = live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0"))
    job = live(job, jobs.failed(Stage.SEPARATE, "1", problem=TERMINAL), RETRY, Dispatched(JOB))
    assert [ordered(2), ordered(2)] == [job.units["0"], job.units["1"]]


@pytest.mark.parametrize(
    ("job", "phase", "orders"),
    [
        (jobs.downloading(), Phase.DOWNLOAD, [DownloadWork]),
        (jobs.preparing(), Phase.SEPARATION, [PrepareWork]),
        (jobs.separating(1), Phase.SEPARATION, [SeparateWork, SeparateWork]),
        (jobs.finalizing(), Phase.SEPARATION, [SeparateWork, SeparateWork]),
    ],
)
def test_a_cancelled_job_resumes_where_its_swept_chunks_begin(
    job: Job, phase: Phase, orders: list[type]
) -> None:
    again = live(job, CANCEL, RETRY, Dispatched(JOB))
    assert (phase, orders) == (again.phase, [type(word) for word in again.outbox])
    assert again.progress >= job.progress


@pytest.mark.parametrize(
    ("job", "stage", "unit", "orders"),
    [
        (jobs.downloading(), Stage.DOWNLOAD, UNIT_SOURCE, [DownloadWork]),
        (jobs.preparing(), Stage.SEPARATE, UNIT_PREPARE, [PrepareWork]),
        (jobs.separating(), Stage.SEPARATE, "1", [SeparateWork, SeparateWork]),
        (jobs.finalizing(), Stage.FINALIZE, UNIT_STEMS, [FinalizeWork]),
    ],
)
def test_a_failed_job_resumes_at_the_phase_it_had_reached(
    job: Job, stage: Stage, unit: str, orders: list[type]
) -> None:
    ended = live(job, jobs.failed(stage, unit, problem=TERMINAL))
    again = live(ended, RETRY, Dispatched(JOB))
    assert (job.phase, orders) == (again.phase, [type(word) for word in again.outbox])


@pytest.mark.parametrize("code", [Code.BLOB_MISSING, Code.BLOB_CORRUPT])
def test_a_job_whose_blobs_are_lost_begins_from_the_start_with_attempts_above(code: Code) -> None:
    lost = Problem.of(TerminalError(code, "tracks/t1/audio.f32"))
    failure = jobs.failed(Stage.SEPARATE, "1", problem=lost)
    ended = live(jobs.separating(1), failure, retries=RetryLimits(restarts=0))
    assert ended.status is Status.FAILED
    again = live(ended, RETRY, Dispatched(JOB))
    (order,) = again.outbox
    assert isinstance(order, DownloadWork)
    assert (order.attempt, again.phase, again.track, again.plan) == (2, Phase.DOWNLOAD, None, None)


@pytest.mark.parametrize("code", [Code.STORAGE_FULL, Code.STORAGE_UNAVAILABLE])
def test_what_the_operator_has_to_mend_is_waited_for_longer(code: Code) -> None:
    problem = Problem.of(RetryableError(code))
    limits = RetryLimits()
    job, waited = jobs.separating(), []
    for attempt in range(1, limits.patient_attempts):
        job = live(job, jobs.failed(Stage.SEPARATE, "0", attempt, problem=problem))
        retry_at = job.units["0"].retry_at
        assert retry_at is not None
        waited.append((retry_at - NOW).total_seconds())
        job = live(job, Due(JOB), now=retry_at)
    assert waited == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    job = live(job, jobs.failed(Stage.SEPARATE, "0", limits.patient_attempts, problem=problem))
    assert (Status.FAILED, problem) == (job.status, job.error)


def test_a_job_of_one_chunk_goes_through() -> None:
    job = live(
        jobs.downloading(),
        jobs.downloaded(chunks=1),
        jobs.prepared(chunks=1),
        jobs.separated(0),
        jobs.finalized(),
    )
    assert job.status == Status.COMPLETED


def test_progress_after_a_cancel_does_not_go_back() -> None:
    job = live(replace(jobs.finalizing()), CANCEL, RETRY, Dispatched(JOB), jobs.separated(0, 2))
    assert job.progress == 90.0


@pytest.mark.parametrize(
    "fact",
    [
        replace(jobs.downloaded(), unit="0"),
        replace(jobs.prepared(), unit="0"),
        replace(jobs.finalized(), unit="1"),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_a_fact_that_does_not_fit_its_unit_changes_nothing(
    fact: Downloaded | Prepared | Finalized,
) -> None:
    assert isinstance(advance(jobs.separating(), fact, at()), Stale)


def test_what_was_out_of_the_ordinary_with_a_chunk_is_in_the_timeline() -> None:
    fact = replace(jobs.separated(0), note="no room on cuda:0: computed on the CPU")
    job = live(jobs.separating(), fact)
    assert job.timeline[-1].note == "chunk 0: no room on cuda:0: computed on the CPU"
