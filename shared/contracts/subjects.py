"""Where each message goes: the one table of subjects, and the ids that make twice into once."""

from __future__ import annotations

import re
from typing import Final

from shared.contracts.commands import (
    CancelBatch,
    CancelJob,
    Command,
    CommandBase,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    ReleaseJob,
    RetryBatch,
    RetryJob,
    SubmitBatch,
    SubmitJob,
)
from shared.contracts.facts import Fact, FactBase
from shared.contracts.live import Beat, Progress, Queue, Tick
from shared.contracts.work import STAGE_OF, UNIT_STEMS, Stage, StopOrder, Work

#: A token that may stand in a subject, a key or a path: no dot, no wildcard, no slash.
TOKEN: Final = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")

VERBS: Final[dict[type, str]] = {
    SubmitJob: "submit",
    CancelJob: "cancel",
    RetryJob: "retry",
    DeleteJob: "delete",
    HoldJob: "hold",
    ReleaseJob: "release",
    FrontJob: "front",
    PrioritizeJob: "prioritize",
    SubmitBatch: "submit_batch",
    CancelBatch: "cancel_batch",
    RetryBatch: "retry_batch",
}

ALL_INBOX: Final = "inbox.>"
ALL_WORK: Final = "work.>"
ALL_TICKS: Final = "tick.>"
ALL_BEATS: Final = "worker.>"
ALL_PROGRESS: Final = "live.progress.*"
#: Records as they are written: ``live.jobs.<job>`` and ``live.jobs.batch.<batch>``.
ALL_RECORDS: Final = "live.jobs.>"
QUEUE: Final = "live.queue"
ALL_STOPS: Final = "control.cancel.*"

Message = Command | Fact | Work | StopOrder | Tick | Progress | Queue | Beat


def token(text: str) -> str:
    """``text``, if it can be one token of a subject; ``ValueError`` otherwise."""
    if not TOKEN.match(text):
        message = f"not a subject token: {text[:80]!r}"
        raise ValueError(message)
    return text


def subject_of(message: Message) -> str:
    """The subject that ``message`` is published on; every message has exactly one."""
    match message:
        case CommandBase():
            subject = f"inbox.command.{VERBS[type(message)]}.{token(message.job_id)}"
        case Tick():
            subject = f"tick.{message.stage}.{token(message.job_id)}"
        case Progress():
            subject = f"live.progress.{token(message.job_id)}"
        case Queue():
            subject = QUEUE
        case Beat():
            subject = f"worker.{message.stage}.{token(message.worker)}"
        case StopOrder():
            subject = f"control.cancel.{token(message.job_id)}"
        case FactBase():
            subject = f"inbox.fact.{message.stage}.{token(message.job_id)}"
        case _:
            subject = work_subject(STAGE_OF[type(message)], message.job_id, message.unit)
    return subject


def work_subject(stage: Stage, job_id: str, unit: str) -> str:
    """The subject of one unit of work; the stream holds at most one message on each."""
    return f"work.{stage}.{token(job_id)}.{token(unit)}"


def stage_filter(stage: Stage) -> str:
    """What one stage's durable consumer reads."""
    return f"work.{stage}.>"


def waiting_work(job_id: str) -> tuple[str, ...]:
    """Filters for what a stop takes away of a job's work: all but the sweep, which a stop brings.

    The broker would drop a sweep said again as one that it knows.
    """
    job = token(job_id)
    return (
        f"work.{Stage.DOWNLOAD}.{job}.>",
        f"work.{Stage.SEPARATE}.{job}.>",
        work_subject(Stage.FINALIZE, job, UNIT_STEMS),
    )


def id_of(message: Command | Fact | Work) -> str:
    """A deterministic id: the same message said twice has the same one."""
    match message:
        case CommandBase():
            # A second cancel or retry is another command, told apart by who waits for its answer.
            return f"{VERBS[type(message)]}.{message.job_id}.{message.reply_to}"
        case FactBase():
            kind = type(message).__name__
            return f"{message.job_id}.{message.unit}.{message.attempt}.{kind}"
        case _:
            return f"{message.job_id}.{message.unit}.{message.attempt}"
