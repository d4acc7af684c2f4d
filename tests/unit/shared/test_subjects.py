"""Every message has one subject, and who is meant to read it does."""

from __future__ import annotations

import re
import typing
from typing import Any

import pytest
from msgspec.structs import replace

from services.scheduler.batch import words_of
from shared.contracts import subjects
from shared.contracts.commands import (
    CancelBatch,
    CancelJob,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryBatch,
    RetryJob,
)
from shared.contracts.job import Phase
from shared.contracts.live import Activity, Beat, Progress, Queue, Tick
from shared.contracts.request import Priority
from shared.contracts.subjects import (
    ALL_BEATS,
    ALL_INBOX,
    ALL_PROGRESS,
    ALL_RECORDS,
    ALL_STOPS,
    ALL_TICKS,
    ALL_WORK,
    QUEUE,
    Message,
    id_of,
    stage_filter,
    subject_of,
    token,
    waiting_work,
)
from shared.contracts.work import RemoveWork, Stage, StopOrder, SweepWork
from tests.support import batches, jobs

SWEEP = SweepWork(job_id="j1", attempt=2)
REMOVE = RemoveWork(job_id="j1", attempt=2, before=jobs.NOW)
MESSAGES: list[tuple[Any, str]] = [
    (jobs.submit(), "inbox.command.submit.j1"),
    (CancelJob(job_id="j1"), "inbox.command.cancel.j1"),
    (RetryJob(job_id="j1"), "inbox.command.retry.j1"),
    (DeleteJob(job_id="j1"), "inbox.command.delete.j1"),
    (HoldJob(job_id="j1"), "inbox.command.hold.j1"),
    (ReleaseJob(job_id="j1"), "inbox.command.release.j1"),
    (FrontJob(job_id="j1"), "inbox.command.front.j1"),
    (PrioritizeJob(job_id="j1", priority=Priority.LOW), "inbox.command.prioritize.j1"),
    (batches.submit_batch(), "inbox.command.submit_batch.b1"),
    (CancelBatch(job_id="b1"), "inbox.command.cancel_batch.b1"),
    (RetryBatch(job_id="b1"), "inbox.command.retry_batch.b1"),
    (batches.expanded(), "inbox.fact.download.b1"),
    (jobs.downloaded(), "inbox.fact.download.j1"),
    (jobs.prepared(), "inbox.fact.separate.j1"),
    (jobs.separated(), "inbox.fact.separate.j1"),
    (jobs.finalized(), "inbox.fact.finalize.j1"),
    (jobs.failed(Stage.SEPARATE, "0"), "inbox.fact.separate.j1"),
    (jobs.downloading().outbox[0], "work.download.j1.source"),
    (jobs.preparing().outbox[0], "work.separate.j1.prepare"),
    (jobs.separating().outbox[1], "work.separate.j1.1"),
    (jobs.finalizing().outbox[0], "work.finalize.j1.stems"),
    (words_of(batches.expanding())[0], "work.download.b1.playlist"),
    (SWEEP, "work.finalize.j1.sweep"),
    (REMOVE, "work.finalize.j1.remove"),
    (StopOrder(job_id="j1"), "control.cancel.j1"),
    (
        Tick(
            job_id="j1",
            stage=Stage.DOWNLOAD,
            unit="source",
            attempt=1,
            activity=Activity.FETCHING,
        ),
        "tick.download.j1",
    ),
    (
        Progress(job_id="j1", phase=Phase.DOWNLOAD, progress=1.0, activity=Activity.FETCHING),
        "live.progress.j1",
    ),
    (Queue(at=jobs.NOW), "live.queue"),
    (Beat(worker="w1", stage=Stage.SEPARATE, slots=1, busy=0), "worker.separate.w1"),
]
#: Who reads what.
FILTERS = {
    "inbox": ALL_INBOX,
    "work": ALL_WORK,
    "tick": ALL_TICKS,
    "worker": ALL_BEATS,
    "live.progress": ALL_PROGRESS,
    "live.jobs": ALL_RECORDS,
    "live.queue": QUEUE,
    "control": ALL_STOPS,
}


def matches(pattern: str, subject: str) -> bool:
    """What the broker does: ``*`` is one token, ``>`` is one or more at the end."""
    escaped = re.escape(pattern).replace(r"\*", "[^.]+").replace("*", "[^.]+")
    expression = escaped.replace(">", ".+") if pattern.endswith(">") else escaped
    return re.fullmatch(expression, subject) is not None


def test_every_kind_of_message_is_listed_here() -> None:
    listed = {type(message) for message, _ in MESSAGES}
    assert set(typing.get_args(Message)) == listed


@pytest.mark.parametrize(("message", "subject"), MESSAGES)
def test_a_message_has_its_subject_and_one_kind_of_reader(message: Message, subject: str) -> None:
    assert subject == subject_of(message)
    readers = [name for name, pattern in FILTERS.items() if matches(pattern, subject)]
    assert [name for name in FILTERS if f"{subject}.".startswith(f"{name}.")] == readers
    stages = [stage for stage in Stage if matches(stage_filter(stage), subject)]
    assert (subject.split(".")[1:2] if subject.startswith("work.") else []) == stages


@pytest.mark.parametrize(
    "hostile", ["", ".", "a.b", "*", ">", "a b", "a\n", "/", "..", "é", "x" * 65]
)
@pytest.mark.parametrize(
    "message", [message for message, _ in MESSAGES if not isinstance(message, Queue)]
)
def test_a_hostile_id_never_becomes_a_subject(message: Message, hostile: str) -> None:
    name = "worker" if isinstance(message, Beat) else "job_id"
    with pytest.raises(ValueError, match="not a subject token"):
        subject_of(replace(message, **{name: hostile}))


@pytest.mark.parametrize("hostile", ["", "a.b", "*", ">"])
def test_a_hostile_unit_never_becomes_a_subject(hostile: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        subject_of(replace(SWEEP, unit=hostile))


@pytest.mark.parametrize("good", ["a", "A-1_b", "0" * 64, "-"])
def test_a_token_is_what_can_stand_anywhere(good: str) -> None:
    assert good == token(good)


def test_what_a_stop_takes_away_is_all_waiting_work_but_what_a_stop_or_a_removal_brings() -> None:
    work = [subject for _, subject in MESSAGES if re.match(r"work\.[a-z]+\.j1\.", subject)]
    taken = [
        subject
        for subject in work
        if any(matches(pattern, subject) for pattern in waiting_work("j1"))
    ]
    kept = {subject_of(SWEEP), subject_of(REMOVE)}
    assert [subject for subject in work if subject not in kept] == taken
    assert any(matches(pattern, "work.download.b1.playlist") for pattern in waiting_work("b1"))
    assert not any(matches(pattern, "work.separate.j10.0") for pattern in waiting_work("j1"))


def test_the_same_said_twice_has_one_id_and_anything_else_another() -> None:
    different: list[Any] = [
        jobs.submit(),
        replace(jobs.submit(), job_id="j2"),
        CancelJob(job_id="j1", reply_to="a"),
        CancelJob(job_id="j1", reply_to="b"),
        RetryJob(job_id="j1", reply_to="a"),
        jobs.downloaded(1),
        jobs.downloaded(2),
        jobs.failed(Stage.DOWNLOAD, "source", 1),
        jobs.separated(0),
        jobs.separated(1),
        jobs.downloading().outbox[0],
        jobs.preparing().outbox[0],
        *jobs.separating().outbox,
        replace(jobs.separating().outbox[0], attempt=2),
        SWEEP,
        REMOVE,
        batches.submit_batch(batch_id="j1"),
        CancelBatch(job_id="j1", reply_to="a"),
        batches.expanded(batch_id="j1"),
        batches.unreadable(batch_id="j1"),
    ]
    ids = [id_of(message) for message in different]
    assert len(ids) == len(set(ids))
    assert ids == [id_of(replace(message)) for message in different]


def test_no_two_filters_are_the_same() -> None:
    names = [name for name in vars(subjects) if name.startswith("ALL_")]
    assert set(FILTERS.values()) == {QUEUE, *(getattr(subjects, name) for name in names)}
