"""Every message has one subject, and who is meant to read it does."""

from __future__ import annotations

import re
import typing
from typing import Any

import pytest
from msgspec.structs import replace

from shared.contracts import subjects
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.job import Phase
from shared.contracts.live import Activity, Beat, Progress, Tick
from shared.contracts.subjects import (
    ALL_BEATS,
    ALL_INBOX,
    ALL_PROGRESS,
    ALL_SNAPSHOTS,
    ALL_STOPS,
    ALL_TICKS,
    ALL_WORK,
    Message,
    id_of,
    stage_filter,
    subject_of,
    token,
    waiting_work,
)
from shared.contracts.work import Stage, StopOrder, SweepWork
from tests.support import jobs

SWEEP = SweepWork(job_id="j1", attempt=2)
MESSAGES: list[tuple[Any, str]] = [
    (jobs.submit(), "inbox.command.submit.j1"),
    (CancelJob(job_id="j1"), "inbox.command.cancel.j1"),
    (RetryJob(job_id="j1"), "inbox.command.retry.j1"),
    (jobs.downloaded(), "inbox.fact.download.j1"),
    (jobs.prepared(), "inbox.fact.separate.j1"),
    (jobs.separated(), "inbox.fact.separate.j1"),
    (jobs.finalized(), "inbox.fact.finalize.j1"),
    (jobs.failed(Stage.SEPARATE, "0"), "inbox.fact.separate.j1"),
    (jobs.downloading().outbox[0], "work.download.j1.source"),
    (jobs.preparing().outbox[0], "work.separate.j1.prepare"),
    (jobs.separating().outbox[1], "work.separate.j1.1"),
    (jobs.finalizing().outbox[0], "work.finalize.j1.stems"),
    (SWEEP, "work.finalize.j1.sweep"),
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
    (Beat(worker="w1", stage=Stage.SEPARATE, slots=1, busy=0), "worker.separate.w1"),
]
#: Who reads what.
FILTERS = {
    "inbox": ALL_INBOX,
    "work": ALL_WORK,
    "tick": ALL_TICKS,
    "worker": ALL_BEATS,
    "live.progress": ALL_PROGRESS,
    "live.jobs": ALL_SNAPSHOTS,
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
    assert [name for name in FILTERS if subject.startswith(f"{name}.")] == readers
    stages = [stage for stage in Stage if matches(stage_filter(stage), subject)]
    assert (subject.split(".")[1:2] if subject.startswith("work.") else []) == stages


@pytest.mark.parametrize(
    "hostile", ["", ".", "a.b", "*", ">", "a b", "a\n", "/", "..", "é", "x" * 65]
)
@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
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


def test_what_a_stop_takes_away_is_all_waiting_work_but_the_sweep() -> None:
    work = [subject for _, subject in MESSAGES if subject.startswith("work.")]
    taken = [
        subject
        for subject in work
        if any(matches(pattern, subject) for pattern in waiting_work("j1"))
    ]
    assert [subject for subject in work if subject != subject_of(SWEEP)] == taken
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
    ]
    ids = [id_of(message) for message in different]
    assert len(ids) == len(set(ids))
    assert ids == [id_of(replace(message)) for message in different]


def test_no_two_filters_are_the_same() -> None:
    names = [name for name in vars(subjects) if name.startswith("ALL_")]
    assert set(FILTERS.values()) == {getattr(subjects, name) for name in names}
