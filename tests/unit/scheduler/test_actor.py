"""The scheduler as its host sees it: a message in, state stored, words out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.actor import LeaseLostError, Scheduler
from services.scheduler.decision import Dispatched, Due
from services.scheduler.fleet import Fleet
from services.scheduler.live import LiveProgress
from shared.contracts.commands import (
    Accepted,
    CancelJob,
    Refused,
    Reply,
    RetryJob,
)
from shared.contracts.job import Job, Phase, Status
from shared.contracts.live import Activity, Beat, Progress, Tick
from shared.contracts.snapshot import snapshot
from shared.contracts.work import DownloadWork, Stage, StopOrder, SweepWork
from shared.errors import Code
from tests.support import jobs
from tests.support.jobs import JOB, live
from tests.support.memory import MemoryStore

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class Realm:
    """A scheduler with a bucket in memory and one worker a stage."""

    def __init__(self, log: FilteringBoundLogger, *existing: Job) -> None:
        self.store = MemoryStore(*existing)
        self.fleet = Fleet()
        for stage in Stage:
            self.fleet.heard(Beat(worker="w", stage=stage, slots=1, busy=0), 0.0)
        self.may_act = True
        self.scheduler = Scheduler(
            store=self.store,
            fleet=self.fleet,
            may_act=lambda: self.may_act,
            steady=lambda: 0.0,
            chance=lambda: 0.0,
            max_processing=4,
            log=log,
        )

    def stored(self) -> Job:
        job = self.store.job(JOB)
        assert job is not None
        return job


@pytest.fixture
def realm(log: FilteringBoundLogger) -> Realm:
    return Realm(log)


async def test_state_is_stored_before_words_are_returned(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    words = await realm.scheduler.receive(Dispatched(JOB))
    assert [DownloadWork] == [type(word) for word in words]
    assert (Status.PROCESSING, tuple(words)) == (realm.stored().status, realm.stored().outbox)


async def test_a_command_is_answered_with_the_job_as_it_is_stored(realm: Realm) -> None:
    (reply,) = await realm.scheduler.receive(jobs.submit(reply_to="inbox.1"))
    assert Reply(to="inbox.1", answer=Accepted(job=snapshot(realm.stored()))) == reply


async def test_a_command_that_nobody_waits_for_is_not_answered(realm: Realm) -> None:
    assert list(await realm.scheduler.receive(jobs.submit())) == []


async def test_the_same_command_again_is_answered_the_same(realm: Realm) -> None:
    answers = [await realm.scheduler.receive(jobs.submit(reply_to="a")) for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("existing", "command", "code"),
    [
        ((), CancelJob(job_id=JOB, reply_to="a"), Code.JOB_NOT_FOUND),
        ((), RetryJob(job_id=JOB, reply_to="a"), Code.JOB_NOT_FOUND),
        ((jobs.completed(),), CancelJob(job_id=JOB, reply_to="a"), Code.JOB_WRONG_STATE),
        ((jobs.pending(),), RetryJob(job_id=JOB, reply_to="a"), Code.JOB_WRONG_STATE),
    ],
)
async def test_a_refusal_is_answered_and_nothing_is_written(
    log: FilteringBoundLogger,
    existing: tuple[Job, ...],
    command: CancelJob | RetryJob,
    code: Code,
) -> None:
    realm = Realm(log, *existing)
    (reply,) = await realm.scheduler.receive(command)
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, Refused)
    assert code == reply.answer.problem.code
    assert existing == tuple(filter(None, [realm.store.job(JOB)]))


async def test_what_is_stale_says_nothing(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.separating())
    for fact in (jobs.separated(0, 9), jobs.finalized(), jobs.downloaded()):
        words = await realm.scheduler.receive(fact)
        expected = list(jobs.separating().outbox) if fact == jobs.downloaded() else []
        assert expected == list(words)
    assert jobs.separating() == realm.stored()


async def test_a_fact_again_says_its_words_again(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.separating())
    first = await realm.scheduler.receive(jobs.separated(0))
    revision = (await realm.store.load(JOB) or (0, 0))[1]
    assert list(first) == list(await realm.scheduler.receive(jobs.separated(0)))
    assert revision == (await realm.store.load(JOB) or (0, 0))[1]


async def test_a_conflict_means_reading_again_and_deciding_again(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [live(realm.stored(), CancelJob(job_id=JOB))]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    assert list(await realm.scheduler.receive(Dispatched(JOB))) == []
    assert realm.stored().status == Status.CANCELLED
    assert realm.scheduler.decisions() == []


async def test_a_conflict_that_changes_nothing_of_the_matter_is_decided_the_same(
    realm: Realm,
) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [replace(realm.stored(), traceparent="other")]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    assert [DownloadWork] == [type(word) for word in await realm.scheduler.receive(Dispatched(JOB))]
    assert (realm.stored().traceparent, realm.stored().status) == ("other", Status.PROCESSING)


async def test_what_somebody_else_wrote_and_may_not_have_said_is_said(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    others = [live(realm.stored(), Dispatched(JOB))]

    def somebody_else_writes() -> None:
        if others:
            realm.store.put(others.pop())

    realm.store.before_write = somebody_else_writes
    words = await realm.scheduler.receive(Dispatched(JOB))
    assert list(realm.stored().outbox) == list(words)
    assert (realm.stored().status, realm.scheduler.active) == (Status.PROCESSING, 1)


async def test_conflicts_without_end_mean_that_there_is_another_owner(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())

    def somebody_else_always_writes() -> None:
        realm.store.put(jobs.pending())

    realm.store.before_write = somebody_else_always_writes
    with pytest.raises(LeaseLostError):
        await realm.scheduler.receive(Dispatched(JOB))


async def test_nothing_is_decided_without_the_lease(realm: Realm) -> None:
    realm.may_act = False
    with pytest.raises(LeaseLostError):
        await realm.scheduler.receive(jobs.submit())
    assert realm.store.job(JOB) is None


async def test_taking_over_says_again_what_unfinished_jobs_had_to_say(
    log: FilteringBoundLogger,
) -> None:
    existing = {
        "j0": jobs.pending(),
        "j1": jobs.downloading(),
        "j2": jobs.separating(),
        "j3": jobs.cancelled(),
        "j4": jobs.completed(),
        "j5": jobs.finalizing(),
        "j6": jobs.scheduled(),
    }
    realm = Realm(log, *(replace(job, id=job_id) for job_id, job in existing.items()))
    words = await realm.scheduler.take_over()
    assert [word for job in ("j1", "j2", "j5") for word in existing[job].outbox] == words
    assert realm.scheduler.active == 5
    assert realm.scheduler.stirred.is_set()


async def test_taking_over_again_forgets_what_was_held(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    realm.store.put(jobs.completed())
    assert await realm.scheduler.take_over() == []
    assert (realm.scheduler.active, realm.scheduler.job(JOB)) == (0, None)


async def test_a_job_that_has_ended_is_not_held(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.separating())
    await realm.scheduler.take_over()
    words = await realm.scheduler.receive(CancelJob(job_id=JOB, reply_to="a"))
    assert [Reply, StopOrder, SweepWork] == [type(word) for word in words]
    assert (realm.scheduler.active, realm.scheduler.job(JOB)) == (0, None)


async def test_a_retry_of_a_job_that_is_not_held_reads_it(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.broken())
    await realm.scheduler.take_over()
    await realm.scheduler.receive(RetryJob(job_id=JOB))
    assert (realm.stored().status, realm.scheduler.active) == (Status.PENDING, 1)


async def test_waiting_jobs_are_dispatched_as_the_fleet_allows(realm: Realm) -> None:
    for number in range(3):
        await realm.scheduler.receive(jobs.submit(f"j{number}"))
    assert [Dispatched("j0")] == realm.scheduler.decisions()
    await realm.scheduler.receive(Dispatched("j0"))
    assert realm.scheduler.decisions() == []
    await realm.scheduler.receive(jobs.downloaded(job_id="j0"))
    assert [Dispatched("j1")] == realm.scheduler.decisions()


async def test_a_job_whose_time_comes_is_due(realm: Realm) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    await realm.scheduler.receive(jobs.submit("later", run_at=soon))
    assert realm.scheduler.decisions() == []
    assert 3500 < (realm.scheduler.next_due() or 0) <= 3600
    realm.store.put(replace(jobs.scheduled(), id="past", run_at=soon - timedelta(hours=2)))
    await realm.scheduler.take_over()
    assert ([Due("past")], 0.0) == (realm.scheduler.decisions(), realm.scheduler.next_due())
    await realm.scheduler.receive(Due("past"))
    assert [Dispatched("past")] == realm.scheduler.decisions()


async def test_nothing_is_due_where_nothing_waits_for_a_time(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    assert realm.scheduler.next_due() is None


async def test_a_failed_unit_waits_for_its_time(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.separating())
    await realm.scheduler.take_over()
    await realm.scheduler.receive(jobs.failed(Stage.SEPARATE, "0"))
    assert 0 < (realm.scheduler.next_due() or 0) <= 1
    assert realm.scheduler.decisions() == []


async def test_a_finalization_teaches_how_fast_it_is(log: FilteringBoundLogger) -> None:
    realm = Realm(log, jobs.finalizing())
    await realm.scheduler.receive(jobs.finalized(elapsed=2.0))
    assert jobs.track().seconds / 2 == realm.fleet.finalization_speed
    await realm.scheduler.receive(jobs.finalized(elapsed=9.0))
    assert jobs.track().seconds / 2 == realm.fleet.finalization_speed


async def test_the_submission_s_trace_is_what_later_messages_belong_to(realm: Realm) -> None:
    await realm.scheduler.receive(replace(jobs.submit(), traceparent="00-1-2-01"))
    assert realm.scheduler.trace_of(JOB) == {"traceparent": "00-1-2-01"}
    assert realm.scheduler.trace_of("another") == {}


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


async def live_of(log: FilteringBoundLogger, job: Job) -> tuple[LiveProgress, Realm]:
    realm = Realm(log, job)
    await realm.scheduler.take_over()
    return LiveProgress(realm.scheduler), realm


async def test_ticks_add_up_to_progress_that_never_goes_back(log: FilteringBoundLogger) -> None:
    progress, realm = await live_of(log, jobs.separating())
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
async def test_a_tick_of_what_is_over_is_ignored(
    log: FilteringBoundLogger, job: Job, late: Tick
) -> None:
    progress, _ = await live_of(log, job)
    assert progress.on_tick(late) is None


async def test_what_was_told_of_a_job_is_forgotten_with_it(log: FilteringBoundLogger) -> None:
    progress, realm = await live_of(log, jobs.separating())
    progress.on_tick(tick("0", 1.0))
    await realm.scheduler.receive(CancelJob(job_id=JOB))
    progress.forget_finished()
    assert (progress._fractions, progress._told) == ({}, {})
