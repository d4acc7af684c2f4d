"""The life of a job: one table, from (status, stimulus) to a rule.

Pure: time and chance come in as ``Circumstances``; what goes out is the job's next record and,
in its outbox, the words that follow.  A pair that is not in the table is refused (a command)
or stale (anything else); an applied stimulus that comes again says the outbox again and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec.structs import replace

from services.scheduler.decision import (
    Answered,
    Changed,
    Circumstances,
    Dispatched,
    Due,
    Expired,
    Granted,
    LeaderEnded,
    Outcome,
    Repeated,
    Stale,
    Stimulus,
)
from services.scheduler.rules import asking, sharing, timing, working
from services.scheduler.rules.record import refuse
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
)
from shared.contracts.facts import Downloaded, Failed, Finalized, Prepared, Separated
from shared.contracts.job import HEARD_LIMIT, Job, Status
from shared.contracts.subjects import id_of
from shared.errors import Code


class Rule(NamedTuple):
    """What a stimulus does to a job of one status, and where that can lead."""

    apply: Callable[..., Outcome]
    leads_to: tuple[Status, ...]


def advance(job: Job | None, stimulus: Stimulus, circumstances: Circumstances) -> Outcome:
    """What becomes of ``job`` (None: there is none yet) on ``stimulus``."""
    if isinstance(stimulus, CommandBase) and job and id_of(stimulus) in job.heard:
        # A command that took effect and comes again must not undo what came after it.
        return Repeated(job)
    rule = TABLE[job.status if job else None].get(type(stimulus))
    if rule is not None:
        return _heard(rule.apply(job, stimulus, circumstances), stimulus)
    if not isinstance(stimulus, CommandBase):
        return Stale(f"{type(stimulus).__name__} for a job that is {job.status if job else None}")
    if job is None:
        return refuse(Code.JOB_NOT_FOUND, stimulus.job_id)
    return refuse(Code.JOB_WRONG_STATE, f"the job is {job.status}")


def _heard(outcome: Outcome, stimulus: Stimulus) -> Outcome:
    """The outcome, with a command that took effect remembered; one nobody waits for has no id."""
    if not isinstance(outcome, Changed) or not isinstance(stimulus, CommandBase):
        return outcome
    if isinstance(stimulus, SubmitJob) or not stimulus.reply_to:
        return outcome
    heard = (*outcome.job.heard, id_of(stimulus))[-HEARD_LIMIT:]
    return Changed(replace(outcome.job, heard=heard))


_AGAIN: Final = Rule(asking.submit_again, ())
_CANCEL: Final = Rule(asking.cancel, (Status.CANCELLED,))
_DELETE: Final = Rule(asking.delete, ())
_EXPIRE: Final = Rule(asking.expire, ())


def _waiting(status: Status) -> Mapping[type, Rule]:
    """What can be done with a job that waits: it stays what it is."""
    return {
        HoldJob: Rule(asking.hold, (status,)),
        ReleaseJob: Rule(asking.release, (status,)),
        FrontJob: Rule(asking.front, (status,)),
        PrioritizeJob: Rule(asking.prioritize, (status,)),
        CancelJob: _CANCEL,
        SubmitJob: _AGAIN,
    }


#: ``{status: {stimulus: rule}}``; None is "no such job".  The README's chart is drawn from it.
TABLE: Final[Mapping[Status | None, Mapping[type, Rule]]] = MappingProxyType(
    {
        None: {
            SubmitJob: Rule(asking.submit, (Status.PENDING, Status.SCHEDULED, Status.COMPLETED))
        },
        Status.SCHEDULED: {
            Due: Rule(timing.due, (Status.PENDING, Status.FAILED)),
            **_waiting(Status.SCHEDULED),
        },
        Status.PENDING: {
            Dispatched: Rule(
                timing.dispatch, (Status.PROCESSING, Status.PENDING, Status.COMPLETED)
            ),
            LeaderEnded: Rule(sharing.leader_ended, (Status.PENDING, Status.COMPLETED)),
            Answered: Rule(sharing.answered, (Status.COMPLETED,)),
            Due: Rule(timing.due, (Status.FAILED,)),
            **_waiting(Status.PENDING),
        },
        Status.PROCESSING: {
            Downloaded: Rule(
                working.downloaded, (Status.PROCESSING, Status.PENDING, Status.COMPLETED)
            ),
            Prepared: Rule(working.prepared, (Status.PROCESSING, Status.PENDING, Status.COMPLETED)),
            Separated: Rule(working.separated, (Status.PROCESSING,)),
            Finalized: Rule(working.finalized, (Status.COMPLETED,)),
            Failed: Rule(working.failure, (Status.PROCESSING, Status.FAILED)),
            Granted: Rule(timing.grant, (Status.PROCESSING,)),
            Due: Rule(timing.due, (Status.PROCESSING, Status.FAILED)),
            CancelJob: _CANCEL,
            SubmitJob: _AGAIN,
        },
        Status.COMPLETED: {
            Finalized: Rule(working.completed_again, ()),
            Prepared: Rule(working.completed_again, ()),
            Downloaded: Rule(working.completed_again, ()),
            DeleteJob: _DELETE,
            Expired: _EXPIRE,
            SubmitJob: _AGAIN,
        },
        Status.FAILED: {
            RetryJob: Rule(asking.retry, (Status.PENDING,)),
            Failed: Rule(working.failure_again, ()),
            DeleteJob: _DELETE,
            Expired: _EXPIRE,
            SubmitJob: _AGAIN,
        },
        Status.CANCELLED: {
            RetryJob: Rule(asking.retry, (Status.PENDING,)),
            CancelJob: Rule(asking.again, ()),
            DeleteJob: _DELETE,
            Expired: _EXPIRE,
            SubmitJob: _AGAIN,
        },
    }
)
