"""Words that go down: what the scheduler orders workers to do, or to stop doing.

A unit of work is named within its job (``source``, ``prepare``, ``0`` … ``n``, ``stems``,
``sweep``, ``sweep-left``, ``remove``), or within its batch (``playlist``).  The attempt fences:
the scheduler accepts a fact only for the attempt it ordered.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from shared.contracts.audio import AudioFormat, Metadata, Plan, Track
from shared.contracts.request import Options, Source


class Stage(StrEnum):
    """A kind of worker's work; each has one durable consumer."""

    DOWNLOAD = "download"
    SEPARATE = "separate"
    FINALIZE = "finalize"


UNIT_SOURCE: Final = "source"
UNIT_PREPARE: Final = "prepare"
UNIT_STEMS: Final = "stems"
UNIT_SWEEP: Final = "sweep"
#: The sweep of a run that a job has given up, or was left and does not take over; its own sweep
#: may be on its way at the same time.
UNIT_SWEEP_LEFT: Final = "sweep-left"
UNIT_REMOVE: Final = "remove"
UNIT_PLAYLIST: Final = "playlist"


class WorkBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """One order: (job, stage, unit, attempt)."""

    #: The job it is for; of ``ExpandWork``, the batch.
    job_id: str
    unit: str
    attempt: int = 1


class DownloadWork(WorkBase, frozen=True, kw_only=True, tag="download"):
    """Fetch the source, decode it, store the original and the canonical track."""

    source: Source
    unit: str = UNIT_SOURCE


class ExpandWork(WorkBase, frozen=True, kw_only=True, tag="expand"):
    """Read a playlist: the addresses of its entries, none of which is fetched."""

    playlist: str
    #: Entries that are wanted at most; those beyond are named as skipped.
    limit: int
    unit: str = UNIT_PLAYLIST


class PrepareWork(WorkBase, frozen=True, kw_only=True, tag="prepare"):
    """Choose and load the model, fetching its weights if need be, and cut the track into chunks."""

    options: Options
    track: Track
    unit: str = UNIT_PREPARE


class SeparateWork(WorkBase, frozen=True, kw_only=True, tag="separate"):
    """Run the windows of one chunk and store what they add to the stems."""

    #: Under whose id the chunks lie: ``work/<run>/…``.
    run: str
    #: Which chunk, from 0; the unit is its decimal form.
    chunk: int
    track: Track
    plan: Plan


class FinalizeWork(WorkBase, frozen=True, kw_only=True, tag="finalize"):
    """Add the chunks up, undo the normalization, encode the stems, measure their peaks."""

    run: str
    track: Track
    plan: Plan
    #: The accepted attempt of each chunk, in order: names the blobs to read.
    attempts: tuple[int, ...]
    format: AudioFormat
    metadata: Metadata
    unit: str = UNIT_STEMS


class SweepWork(WorkBase, frozen=True, kw_only=True, tag="sweep"):
    """The job has ended: remove everything temporary of it (``work/<run>/``).  No fact follows."""

    #: Empty: the job's own.
    run: str = ""
    unit: str = UNIT_SWEEP


class RemoveWork(WorkBase, frozen=True, kw_only=True, tag="remove"):
    """The job has been forgotten: remove its files.  No fact follows.

    The scheduler names a track or a result only when no other job it knows has the same.
    """

    #: What has been stored or touched since is somebody else's by now: it stays.
    before: datetime
    #: Under whose id its temporary blobs lie (``work/<run>/``); empty: its own.
    run: str = ""
    track: str | None = None
    result: str | None = None
    unit: str = UNIT_REMOVE


class StopOrder(Struct, frozen=True, kw_only=True, tag_field="type", tag="stop"):
    """Whatever is out for this job is not wanted any more: purge what waits, stop what runs."""

    job_id: str


Work = (
    DownloadWork | ExpandWork | PrepareWork | SeparateWork | FinalizeWork | SweepWork | RemoveWork
)
Word = Work | StopOrder

#: Which stage's workers take which kind of work.
STAGE_OF: Final[dict[type, Stage]] = {
    DownloadWork: Stage.DOWNLOAD,
    ExpandWork: Stage.DOWNLOAD,
    PrepareWork: Stage.SEPARATE,
    SeparateWork: Stage.SEPARATE,
    FinalizeWork: Stage.FINALIZE,
    SweepWork: Stage.FINALIZE,
    RemoveWork: Stage.FINALIZE,
}
#: Work that nobody's record awaits: it is done whenever it comes.
UNASKED: Final = (SweepWork, RemoveWork)
