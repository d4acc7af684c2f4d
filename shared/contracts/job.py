"""A job: what was asked for, how far it is, and what came of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from shared.contracts.audio import Metadata, Plan, Result, Track
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source, Terms
from shared.contracts.unit import Unit, UnitState
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


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a job's timeline."""

    at: datetime
    status: Status
    phase: Phase | None = None
    note: str = ""


class Legacy(Struct, frozen=True, kw_only=True):
    """A run that a job has left to another one when it ended: its finished chunks are not lost."""

    #: The job that goes on with it: one that has followed.
    heir: str
    #: Under whose id the chunks lie.
    run: str


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
    #: As they were asked for; the priority as it was last changed.
    terms: Terms = Terms()
    #: The batch it belongs to.
    batch: str | None = None
    #: Set while it is scheduled: when it becomes pending.
    run_at: datetime | None = None
    #: Since when it has been waiting for its turn; the first time, or since it was retried.
    queued_at: datetime | None = None
    #: Set while a client keeps it from being started.
    held_at: datetime | None = None
    #: Set when a client moved it to the front of the queue: the newest goes first.
    front_at: datetime | None = None
    #: When it was first started, and when it was last started.
    started_at: datetime | None = None
    resumed_at: datetime | None = None
    #: When its phase began; its time limit counts from there.
    phase_at: datetime | None = None
    finished_at: datetime | None = None
    #: When it will be done, as far as measured speeds tell.
    eta: datetime | None = None
    metadata: Metadata | None = None
    track: Track | None = None
    #: When that track was downloaded, by whichever job.
    fetched_at: datetime | None = None
    #: While it is fetched anew: the id of the one that the finished chunks were computed from.
    former_track: str = ""
    plan: Plan | None = None
    result: Result | None = None
    error: Problem | None = None
    #: Another job that is at work on what this one comes to, by whichever address and name of the
    #: model: this one waits for what comes of it.
    follows: str | None = None
    #: Under whose id its temporary blobs lie: its own, that of a job whose run it took over, or
    #: another one, after it has left its run to a follower.
    run: str = ""
    #: What it left when it ended last; the chunks in its record lie there.
    legacy: Legacy | None = None
    #: By unit name (see ``subjects``); only those that have been ordered at least once.
    units: dict[str, Unit] = field(default_factory=dict)
    #: Attempts up to this one have been swept away: new ones count on from here.
    attempt_floor: int = 0
    #: How often stored files were lost and made anew, or the job was planned anew.
    restarts: int = 0
    #: Hash of the submission, to tell a repeated one from another with the same id.
    request: str = ""
    #: Oldest first, at most ``TIMELINE_LIMIT`` long: the first lines and the newest are kept.
    timeline: tuple[Moment, ...] = ()
    #: Ids of the newest commands that took effect: one that comes again changes nothing.
    heard: tuple[str, ...] = ()
    #: What the last transition has to say; published after it was stored, again after a crash.
    outbox: tuple[Word, ...] = ()
    #: W3C trace context of the submission, so that one job is one trace even after a restart.
    traceparent: str | None = None

    @property
    def run_id(self) -> str:
        """Whose folder under ``work/`` its chunks are in."""
        return self.run or self.id

    @property
    def chunks_done(self) -> int:
        """Number of chunks whose sums are in the blob store."""
        return sum(
            1
            for name, unit in self.units.items()
            if name.isdigit() and unit.state is UnitState.DONE
        )

    @property
    def pieces_ready(self) -> int:
        """Number of chunks that are done with all before them: what can be heard already."""
        number = 0
        while (unit := self.units.get(str(number))) and unit.state is UnitState.DONE:
            number += 1
        return number

    def awaits(self, unit: str, attempt: int) -> bool | None:
        """Whether a fact of this attempt is awaited; None if it was ordered after this record."""
        found = self.units.get(unit)
        if found and (found.state, found.attempt) == (UnitState.ORDERED, attempt):
            return self.status is Status.PROCESSING
        # A unit that it was left by another may have had more attempts here.
        known = max(found.attempt if found else 0, self.attempt_floor)
        return False if self.status.terminal or known >= attempt else None
