"""What a decision about a job is made of: a stimulus, the circumstances, an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from shared.contracts.commands import JobCommand
from shared.contracts.facts import JobFact
from shared.contracts.job import Job, Phase
from shared.contracts.problem import Problem
from shared.contracts.work import Stage, Word


class Dispatched(Struct, frozen=True):
    """It is this job's turn."""

    job_id: str


class Granted(Struct, frozen=True):
    """More of this job's chunks may be out now."""

    job_id: str


class Due(Struct, frozen=True):
    """The time has come that the job was waiting for, or that it had."""

    job_id: str


class Expired(Struct, frozen=True):
    """This job has ended long ago, or its room is needed."""

    job_id: str


class LeaderEnded(Struct, frozen=True):
    """The job that this one follows is not at work any more."""

    job_id: str


class Answered(Struct, frozen=True):
    """What this job asks for has just been made for another one."""

    job_id: str


Decision = Dispatched | Granted | Due | Expired | LeaderEnded | Answered
Stimulus = JobCommand | JobFact | Decision


class RetryLimits(Struct, frozen=True, kw_only=True):
    """How often and how soon failed work is tried again."""

    #: Attempts of one unit before its job fails, by stage.
    attempts: Mapping[Stage, int] = MappingProxyType(
        {Stage.DOWNLOAD: 4, Stage.SEPARATE: 3, Stage.FINALIZE: 3}
    )
    #: The same for what is the operator's to mend: a full disk, a blob store that is away.
    patient_attempts: int = 8
    patient_first_pause: float = 15.0
    #: Seconds before the second attempt; doubled for each further one.
    first_pause: float = 1.0
    #: Seconds of the longest pause; a site's own Retry-After may ask for up to this much.
    longest_pause: float = 300.0
    #: How often what was lost or damaged in the store is made anew, or a job planned anew whose
    #: model has changed, before it fails.
    restarts: int = 3


class TimeLimits(Struct, frozen=True, kw_only=True):
    """How long a job may take, in seconds; a guard against what never ends, not a schedule."""

    #: By phase, from its beginning or from the last time the job was started.
    phases: Mapping[Phase, float] = MappingProxyType(
        {
            Phase.DOWNLOAD: 2 * 3600.0,
            Phase.SEPARATION: 48 * 3600.0,
            Phase.FINALIZATION: 2 * 3600.0,
        }
    )
    #: In all, from the last time the job was started.
    job: float = 72 * 3600.0


class Others(Struct, frozen=True, kw_only=True):
    """Other jobs that have to do with the same song, as far as it matters to a decision."""

    #: A completed one: its result is what this job would come to.
    made: Job | None = None
    #: One that is at work on the same; of one that follows: whom it follows.
    leader: Job | None = None
    #: One that has the track of the same source.
    fetched: Job | None = None
    #: The follower that goes on with this job's run if it does not complete.
    heir: str = ""
    #: Whether the one that its legacy was left to has not come for it yet.
    unclaimed: bool = False
    #: The heir of the leader, as far as it goes on: it leads now.
    successor: str = ""


class Circumstances(Struct, frozen=True, kw_only=True):
    """What a decision depends on beside the job and the stimulus."""

    now: datetime
    #: Chunks of this job that may be out at once.
    window: int = 2
    #: 0 to 1, drawn anew for each decision; spreads retries.
    chance: float = 0.0
    retries: RetryLimits = RetryLimits()
    times: TimeLimits = TimeLimits()
    #: Why there is no room for a further waiting job; none: there is.
    full: Problem | None = None
    #: Until when the job's site is left alone.
    paused_until: datetime | None = None
    #: Whether other jobs have the same track, the same result.
    track_shared: bool = False
    result_shared: bool = False
    #: Hash of the submission of a job with this id that was removed lately, and must not be made
    #: anew.
    removed: str = ""
    others: Others = Others()
    #: Attempts up to this one may be known of a job with this id that was removed: to the broker,
    #: which drops what it has heard lately, and to workers.
    floor: int = 0


class Changed(NamedTuple):
    """The stimulus took effect: store ``job``, then say its outbox."""

    job: Job


class Removed(NamedTuple):
    """The job is to be forgotten: remove its record, then say ``words``."""

    job: Job
    words: tuple[Word, ...]
    #: Hash of the submission that must not make it anew for a day; empty: any may.
    request: str


class Repeated(NamedTuple):
    """It took effect before: say the outbox again, in case it never was."""

    job: Job


class Stale(NamedTuple):
    """It is about something that is over."""

    why: str


class Refusal(NamedTuple):
    """A client asked for what can't be."""

    problem: Problem


Outcome = Changed | Removed | Repeated | Stale | Refusal
