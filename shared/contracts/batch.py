"""A batch: many songs asked for at once, as a list or as a playlist's address."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source, Terms
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import UNIT_PLAYLIST

#: Most songs in one batch: what its record, at some 500 bytes each, can hold.
MAX_ENTRIES: Final = 500


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One song of a batch; its job's id is the batch's and its number (see ``entry_id``)."""

    source: Source
    #: As the playlist calls it; from outside: show it as text only.
    title: str | None = None


class Skipped(Struct, frozen=True, kw_only=True):
    """One that could not be taken, and why."""

    #: What was given, shortened; from outside: show it as text only.
    entry: str
    problem: Problem


class BatchStatus(StrEnum):
    """Where a batch itself stands; how far its jobs are, their own records say."""

    #: A downloader is reading the playlist.
    EXPANDING = "expanding"
    #: Its songs are known; their jobs exist or are being made.
    EXPANDED = "expanded"
    #: The playlist could not be read.
    FAILED = "failed"
    #: A client called it off.
    CANCELLED = "cancelled"


class Errand(StrEnum):
    """What is being done to each of a batch's jobs in turn."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    RETRY = "retry"


class Batch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch's whole record, as it lies in the bucket.  Only the scheduler writes it."""

    id: str
    status: BatchStatus
    options: Options
    terms: Terms
    created_at: datetime
    updated_at: datetime
    playlist: str | None = None
    #: The playlist's title; from outside.
    title: str | None = None
    entries: tuple[Entry, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    error: Problem | None = None
    #: Of the one unit of work that a batch has: reading the playlist.
    unit: Unit | None = None
    #: What is being done to each of its jobs, and the entry that is next; none: nothing.
    errand: Errand | None = None
    next: int = 0
    #: How many of the entries have had their jobs made.
    submitted: int = 0
    #: Hash of the submission, to tell a repeated one from another with the same id.
    request: str = ""
    #: Ids of the newest commands that took effect.
    heard: tuple[str, ...] = ()
    traceparent: str | None = None

    def awaits(self, unit: str, attempt: int) -> bool | None:
        """Whether a fact of this attempt is awaited; None if it was ordered after this record."""
        known = self.unit.attempt if self.unit else 0
        if unit != UNIT_PLAYLIST or attempt < known:
            return False
        if attempt > known:
            return None
        ordered = self.unit is not None and self.unit.state is UnitState.ORDERED
        return ordered and self.status is BatchStatus.EXPANDING


class BatchSnapshot(Struct, frozen=True, kw_only=True):
    """A batch as clients see it, without its jobs' own states, which a gateway adds."""

    id: str
    status: BatchStatus
    options: Options
    owner: str
    created_at: datetime
    updated_at: datetime
    playlist: str | None
    title: str | None
    #: Ids of its jobs, in the order they were given.
    jobs: tuple[str, ...]
    skipped: tuple[Skipped, ...] = field(default_factory=tuple)
    error: Problem | None = None


def entry_id(batch_id: str, number: int) -> str:
    """The id of the job that a batch's entry becomes."""
    return f"{batch_id}-{number}"


def batch_snapshot(batch: Batch) -> BatchSnapshot:
    """What a client may know of ``batch``."""
    return BatchSnapshot(
        id=batch.id,
        status=batch.status,
        options=batch.options,
        owner=batch.terms.owner,
        created_at=batch.created_at,
        updated_at=batch.updated_at,
        playlist=batch.playlist,
        title=batch.title,
        jobs=tuple(entry_id(batch.id, number) for number in range(len(batch.entries))),
        skipped=batch.skipped,
        error=batch.error,
    )
