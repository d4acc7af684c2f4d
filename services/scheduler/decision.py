"""What a decision about a job is made of: a stimulus, the circumstances, an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.facts import Downloaded, Failed, Finalized, Prepared, Separated
from shared.contracts.job import Job
from shared.contracts.problem import Problem
from shared.contracts.work import Stage


class Dispatched(Struct, frozen=True):
    """It is this job's turn."""

    job_id: str


class Due(Struct, frozen=True):
    """The time has come that the job was waiting for."""

    job_id: str


Stimulus = (
    SubmitJob | CancelJob | RetryJob | Downloaded | Prepared | Separated | Finalized | Failed
    | Dispatched | Due
)  # fmt: skip


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


class Circumstances(Struct, frozen=True, kw_only=True):
    """What a decision depends on beside the job and the stimulus."""

    now: datetime
    #: Chunks of one job that may be out at once.
    window: int = 2
    #: 0 to 1, drawn anew for each decision; spreads retries.
    chance: float = 0.0
    retries: RetryLimits = RetryLimits()


class Changed(NamedTuple):
    """The stimulus took effect: store ``job``, then say its outbox."""

    job: Job


class Repeated(NamedTuple):
    """It took effect before: say the outbox again, in case it never was."""

    job: Job


class Stale(NamedTuple):
    """It is about something that is over."""

    why: str


class Refusal(NamedTuple):
    """A client asked for what can't be."""

    problem: Problem


Outcome = Changed | Repeated | Stale | Refusal
