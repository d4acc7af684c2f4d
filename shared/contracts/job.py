"""A job: what was asked for, how far it is, and what came of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from shared.contracts.audio import Metadata, Plan, Result, Track
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source
from shared.contracts.work import Word

#: Commands that are remembered: far more than can be on their way at once.
HEARD_LIMIT: Final = 8
#: Lines of a timeline that are kept.
TIMELINE_LIMIT: Final = 40


class Status(StrEnum):
    """Where a job stands.  Only the scheduler changes it."""

    #: Accepted, and not to be started before ``run_at``.
    SCHEDULED = "scheduled"
    #: Accepted and waiting for its turn.
    PENDING = "pending"
    #: Workers have orders for it.
    PROCESSING = "processing"
    #: Its stems are there.
    COMPLETED = "completed"
    #: It ended with an error; a retry resumes where it stood.
    FAILED = "failed"
    #: A client called it off.
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing but a retry can change it any more."""
        return self in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


class Phase(StrEnum):
    """What a processing job is at; a failed or cancelled one keeps the phase it had reached."""

    DOWNLOAD = "download"
    SEPARATION = "separation"
    FINALIZATION = "finalization"


class UnitState(StrEnum):
    """How far one unit of work is, as the scheduler knows it."""

    ORDERED = "ordered"
    #: It failed and will be ordered again at ``retry_at``.
    WAITING = "waiting"
    DONE = "done"


class Unit(Struct, frozen=True, array_like=True):
    """One unit of a job's work: the download, the preparation, a chunk, the finalization."""

    state: UnitState
    #: The attempt whose fact is or was accepted; facts of any other are stale.
    attempt: int
    #: Failures since the job was last started or retried by a client.
    failures: int = 0
    retry_at: datetime | None = None


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a job's timeline."""

    at: datetime
    status: Status
    phase: Phase | None = None
    note: str = ""


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job's whole record, as it lies in the bucket.  Only the scheduler writes it."""

    id: str
    source: Source
    options: Options
    status: Status
    created_at: datetime
    updated_at: datetime
    #: Set while processing, and kept afterwards: where a retry resumes.
    phase: Phase | None = None
    #: 0 to 100; never goes backwards.
    progress: float = 0.0
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: When it will be done, as far as measured speeds tell.
    eta: datetime | None = None
    metadata: Metadata | None = None
    track: Track | None = None
    plan: Plan | None = None
    result: Result | None = None
    error: Problem | None = None
    #: By unit name (see ``subjects``); only those that have been ordered at least once.
    units: dict[str, Unit] = field(default_factory=dict)
    #: Attempts up to this one have been swept away: new ones count on from here.
    attempt_floor: int = 0
    #: Oldest first, at most ``TIMELINE_LIMIT`` long: the first lines and the newest are kept.
    timeline: tuple[Moment, ...] = ()
    #: Ids of the newest commands that took effect: one that comes again changes nothing.
    heard: tuple[str, ...] = ()
    #: What the last transition has to say; published after it was stored, again after a crash.
    outbox: tuple[Word, ...] = ()
    #: W3C trace context of the submission, so that one job is one trace even after a restart.
    traceparent: str | None = None

    @property
    def chunks_done(self) -> int:
        """Number of chunks whose sums are in the blob store."""
        return sum(
            1
            for name, unit in self.units.items()
            if name.isdigit() and unit.state is UnitState.DONE
        )
