"""The table: every status and every stimulus, where each rule leads, and what leads nowhere."""

from __future__ import annotations

import typing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.core import TABLE, advance
from services.scheduler.decision import (
    Answered,
    Changed,
    Dispatched,
    Due,
    Expired,
    Granted,
    LeaderEnded,
    Others,
    Refusal,
    Removed,
    Repeated,
    Stale,
    Stimulus,
)
from shared.contracts.commands import (
    CancelJob,
    CommandBase,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryJob,
    SubmitJob,
    digest_of,
)
from shared.contracts.facts import Failed
from shared.contracts.job import Job, Phase, Status
from shared.contracts.request import Options, Priority, Source, Terms
from shared.contracts.work import UNIT_SOURCE, Stage
from shared.errors import Code
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, OF_STATUS, TERMINAL, at, live

#: One of each stimulus, such as takes effect where the table lets it.
EXAMPLES: dict[type, Stimulus] = {
    SubmitJob: jobs.submit(),
    CancelJob: CancelJob(job_id=JOB),
    RetryJob: RetryJob(job_id=JOB),
    DeleteJob: DeleteJob(job_id=JOB),
    HoldJob: HoldJob(job_id=JOB),
    ReleaseJob: ReleaseJob(job_id=JOB),
    FrontJob: FrontJob(job_id=JOB),
    PrioritizeJob: PrioritizeJob(job_id=JOB, priority=Priority.HIGH),
    type(jobs.downloaded()): jobs.downloaded(),
    type(jobs.prepared()): jobs.prepared(),
    type(jobs.separated()): jobs.separated(),
    type(jobs.finalized()): jobs.finalized(),
    Failed: jobs.failed(Stage.SEPARATE, "0"),
    Dispatched: Dispatched(JOB),
    Granted: Granted(JOB),
    Due: Due(JOB),
    Expired: Expired(JOB),
    LeaderEnded: LeaderEnded(JOB),
    Answered: Answered(JOB),
}
STATUSES: list[Status | None] = [None, *Status]
PAIRS = [(status, kind) for status in STATUSES for kind in typing.get_args(Stimulus)]


def job_of(status: Status | None) -> Job | None:
    return OF_STATUS[status]() if status else None


def test_the_table_has_a_row_for_every_status_and_nothing_else() -> None:
    assert set(STATUSES) == set(TABLE)
    assert set(EXAMPLES) == set(typing.get_args(Stimulus))
    assert {kind for row in TABLE.values() for kind in row} == set(EXAMPLES)


@pytest.mark.parametrize("status", Status)
def test_the_example_of_a_status_has_it(status: Status) -> None:
    assert status == OF_STATUS[status]().status


@pytest.mark.parametrize(("status", "kind"), PAIRS)
def test_a_pair_is_in_the_table_or_leads_nowhere(status: Status | None, kind: type) -> None:
    job = job_of(status)
    outcome = advance(job, EXAMPLES[kind], at())
    rule = TABLE[status].get(kind)
    if rule is None and issubclass(kind, CommandBase):
        assert isinstance(outcome, Refusal)
        code = Code.JOB_WRONG_STATE if job else Code.JOB_NOT_FOUND
        assert (code, False) == (outcome.problem.code, outcome.problem.retryable)
    elif rule is None:
        assert isinstance(outcome, Stale)
    elif isinstance(outcome, Changed):
        assert outcome.job.status in rule.leads_to
    # A record is a value: whatever was decided, the one that was given is as it was.
    assert job_of(status) == job


@pytest.mark.parametrize("status", Status)
def test_the_same_submission_again_is_the_same_job(status: Status) -> None:
    job = OF_STATUS[status]()
    same = jobs.submit(run_at=LATER if status is Status.SCHEDULED else None, reply_to="another")
    assert Repeated(job) == advance(job, same, at())


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(
    "other",
    [
        {"source": Source(url="https://example.org/b.mp3")},
        {"options": Options(model="dsp")},
        {"terms": Terms(owner="somebody else")},
        {"terms": Terms(priority=Priority.HIGH)},
        {"batch": "b1"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_submission_with_a_known_id_is_refused(
    status: Status, other: dict[str, object]
) -> None:
    job = replace(OF_STATUS[status](), request=digest_of(jobs.submit()))
    outcome = advance(job, replace(jobs.submit(), **other), at())
    assert isinstance(outcome, Refusal)
    assert outcome.problem.code == Code.JOB_EXISTS


#: In place of ids, for short: of the same wish a job has completed, is being processed.
MADE, LED = "made", "led"
#: Waiting long enough for everything that a job can wait for.
EVER = NOW + timedelta(days=9)
LAST_FAILURE = replace(jobs.failed(Stage.SEPARATE, "0"), problem=TERMINAL)


def waiting(status: Status) -> list[tuple[Status | None, Job | None, Stimulus, Status]]:
    """What can be done with a job that waits leaves it what it is, or ends it."""
    job = OF_STATUS[status]()
    return [
        (status, job, EXAMPLES[HoldJob], status),
        (status, live(job, EXAMPLES[HoldJob]), EXAMPLES[ReleaseJob], status),
        (status, job, EXAMPLES[FrontJob], status),
        (status, job, EXAMPLES[PrioritizeJob], status),
        (status, job, EXAMPLES[CancelJob], Status.CANCELLED),
        (status, replace(job, terms=Terms(deadline=LATER)), Due(JOB), Status.FAILED),
    ]


def reached_by() -> list[tuple[Status | None, Job | None, Stimulus, Status]]:
    """For each of a rule's ends, what leads to it."""
    failed_once = live(jobs.downloading(), jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE))
    late = replace(jobs.separating(), resumed_at=NOW - timedelta(days=9))
    processing = Status.PROCESSING
    pending, follower = jobs.pending(), replace(jobs.pending(), follows="other")
    return [
        (None, None, jobs.submit(reply_to=MADE), Status.COMPLETED),
        (Status.PENDING, pending, Dispatched(MADE), Status.COMPLETED),
        (Status.PENDING, pending, Dispatched(LED), Status.PENDING),
        (Status.PENDING, follower, LeaderEnded(MADE), Status.COMPLETED),
        (Status.PENDING, follower, LeaderEnded(JOB), Status.PENDING),
        (Status.PENDING, pending, Answered(MADE), Status.COMPLETED),
        (processing, jobs.preparing(), jobs.prepared(job_id=MADE), Status.COMPLETED),
        (processing, jobs.preparing(), jobs.prepared(job_id=LED), Status.PENDING),
        (processing, jobs.downloading(), jobs.downloaded(job_id=MADE), Status.COMPLETED),
        (processing, jobs.downloading(), jobs.downloaded(job_id=LED), Status.PENDING),
        (None, None, jobs.submit(), Status.PENDING),
        (None, None, jobs.submit(run_at=EVER), Status.SCHEDULED),
        (Status.SCHEDULED, jobs.scheduled(), Due(JOB), Status.PENDING),
        *waiting(Status.SCHEDULED),
        (Status.PENDING, jobs.pending(), Dispatched(JOB), processing),
        *waiting(Status.PENDING),
        (processing, jobs.downloading(), jobs.downloaded(), processing),
        (processing, jobs.preparing(), jobs.prepared(), processing),
        (processing, jobs.separating(), jobs.separated(), processing),
        (processing, jobs.finalizing(), jobs.finalized(), Status.COMPLETED),
        (processing, jobs.separating(), jobs.failed(Stage.SEPARATE, "0"), processing),
        (processing, jobs.separating(), LAST_FAILURE, Status.FAILED),
        (processing, live(jobs.preparing(), jobs.prepared(), window=1), Granted(JOB), processing),
        (processing, failed_once, Due(JOB), processing),
        (processing, late, Due(JOB), Status.FAILED),
        (processing, jobs.separating(), CancelJob(job_id=JOB), Status.CANCELLED),
        (Status.FAILED, jobs.broken(), RetryJob(job_id=JOB), Status.PENDING),
        (Status.CANCELLED, jobs.cancelled(), RetryJob(job_id=JOB), Status.PENDING),
    ]


def others_for(stimulus: Stimulus) -> Others:
    made, leader = replace(jobs.completed(), id="other"), replace(jobs.separating(), id="other")
    if MADE in {stimulus.job_id, getattr(stimulus, "reply_to", "")}:
        return Others(leader=made) if isinstance(stimulus, LeaderEnded) else Others(made=made)
    return Others(leader=leader) if stimulus.job_id == LED else Others()


@pytest.mark.parametrize(("status", "job", "stimulus", "end"), reached_by())
def test_a_rule_leads_where_it_says(
    status: Status | None, job: Job | None, stimulus: Stimulus, end: Status
) -> None:
    assert status == (job.status if job else None)
    now = LATER if isinstance(stimulus, Due) else NOW
    outcome = advance(job, stimulus, at(now, others=others_for(stimulus)))
    assert isinstance(outcome, Changed)
    assert end == outcome.job.status


def test_every_end_of_every_rule_is_reached() -> None:
    declared = {
        (status, kind, end)
        for status, row in TABLE.items()
        for kind, rule in row.items()
        for end in rule.leads_to
    }
    assert declared == {(status, type(stim), end) for status, _, stim, end in reached_by()}


def test_only_a_retry_leads_out_of_an_end() -> None:
    assert {
        (status, kind)
        for status, row in TABLE.items()
        for kind, rule in row.items()
        if status and status.terminal and rule.leads_to
    } == {(Status.FAILED, RetryJob), (Status.CANCELLED, RetryJob)}


REMOVABLE = [Status.COMPLETED, Status.FAILED, Status.CANCELLED]


@pytest.mark.parametrize("kind", [DeleteJob, Expired])
@pytest.mark.parametrize("status", STATUSES)
def test_only_what_has_ended_can_be_removed(status: Status | None, kind: type) -> None:
    outcome = advance(job_of(status), EXAMPLES[kind], at())
    assert isinstance(outcome, Removed) == (status in REMOVABLE)


@pytest.mark.parametrize(
    ("job", "stimulus"),
    [
        (jobs.downloading(), Dispatched(JOB)),
        (live(jobs.pending(), HoldJob(job_id=JOB)), Dispatched(JOB)),
        (jobs.separating(), Granted(JOB)),
        (jobs.downloading(), Granted(JOB)),
        (jobs.pending(), Granted(JOB)),
        (jobs.completed(), Granted(JOB)),
        (jobs.separating(), Expired(JOB)),
        (jobs.pending(), Due(JOB)),
        (jobs.scheduled(), Due(JOB)),
        (jobs.scheduled(), Dispatched(JOB)),
        (jobs.separating(), Due(JOB)),
        (jobs.pending(), LeaderEnded(JOB)),
        (jobs.pending(), Answered(JOB)),
        (replace(jobs.pending(), follows="other"), Answered(JOB)),
        (replace(jobs.pending(), follows="other"), Dispatched(JOB)),
        (jobs.separating(), LeaderEnded(JOB)),
        (jobs.completed(), Answered(JOB)),
        (jobs.completed(), jobs.prepared()),
        (jobs.pending(), jobs.downloaded()),
        (jobs.cancelled(), jobs.separated(1)),
        (jobs.completed(), jobs.failed(Stage.FINALIZE, "stems")),
        (jobs.downloading(), jobs.prepared()),
        (jobs.downloading(), jobs.separated()),
        (jobs.separating(), jobs.finalized()),
        (jobs.separating(), jobs.separated(2)),
        (jobs.separating(), jobs.separated(99)),
        (jobs.separating(), jobs.failed(Stage.SEPARATE, "2")),
        (jobs.separating(1), jobs.failed(Stage.SEPARATE, "0")),
    ],
)
def test_what_is_over_or_was_never_ordered_is_stale(job: Job, stimulus: Stimulus) -> None:
    assert isinstance(advance(job, stimulus, at()), Stale)


@pytest.mark.parametrize(
    ("job", "fact"),
    [
        (jobs.downloading(), jobs.downloaded),
        (jobs.preparing(), jobs.prepared),
        (jobs.separating(), lambda attempt: jobs.separated(0, attempt)),
        (jobs.finalizing(), jobs.finalized),
        (jobs.separating(), lambda attempt: jobs.failed(Stage.SEPARATE, "0", attempt)),
        (
            jobs.separating(),
            lambda attempt: jobs.failed(Stage.SEPARATE, "0", attempt, problem=TERMINAL),
        ),
    ],
    ids=["downloaded", "prepared", "separated", "finalized", "failed", "failed for good"],
)
def test_attempts_fence(job: Job, fact: typing.Callable[[int], Stimulus]) -> None:
    """Older and newer attempts are stale; the right one counts, and again says what it said."""
    for attempt in (-1, 0, 2, 3):
        assert isinstance(advance(job, fact(attempt), at()), Stale)
    accepted = live(job, fact(1))
    assert Repeated(accepted) == advance(accepted, fact(1), at(LATER))
    for attempt in (0, 2):
        assert isinstance(advance(accepted, fact(attempt), at()), Stale)


def test_a_repeated_cancel_says_what_it_said() -> None:
    job = jobs.cancelled()
    assert Repeated(job) == advance(job, CancelJob(job_id=JOB), at(LATER))
    assert job.outbox


def test_a_job_whose_time_has_come_at_submission_does_not_wait() -> None:
    outcome = advance(None, jobs.submit(run_at=NOW), at())
    assert isinstance(outcome, Changed)
    assert (outcome.job.status, outcome.job.run_at) == (Status.PENDING, None)


@pytest.mark.parametrize(
    ("job", "phase"),
    [
        (jobs.pending(), None),
        (jobs.downloading(), Phase.DOWNLOAD),
        (jobs.preparing(), Phase.SEPARATION),
        (jobs.separating(2), Phase.SEPARATION),
        (jobs.finalizing(), Phase.FINALIZATION),
        (jobs.completed(), Phase.FINALIZATION),
        (jobs.broken(), Phase.SEPARATION),
        (jobs.cancelled(), Phase.SEPARATION),
        (jobs.retried(), Phase.SEPARATION),
    ],
)
def test_a_job_has_the_phase_it_has_reached(job: Job, phase: Phase | None) -> None:
    assert phase == job.phase
