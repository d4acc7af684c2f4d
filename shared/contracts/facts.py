"""Facts: what workers say came of their work.  Past tense; they never order anything."""

from __future__ import annotations

from msgspec import Struct

from shared.contracts.audio import Metadata, Plan, Result, Track
from shared.contracts.batch import Entry, Skipped
from shared.contracts.problem import Problem
from shared.contracts.work import Stage


class FactBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """(job, stage, unit, attempt) and who did it."""

    job_id: str
    stage: Stage
    unit: str
    attempt: int
    #: Id of the worker that says so.
    worker: str = ""
    #: Seconds the work took, waiting for a slot not included.
    elapsed: float = 0.0


class Downloaded(FactBase, frozen=True, kw_only=True, tag="downloaded"):
    """The canonical track is in the blob store."""

    track: Track
    metadata: Metadata


class Prepared(FactBase, frozen=True, kw_only=True, tag="prepared"):
    """The model is chosen and can be loaded; this is how the track is cut for it."""

    plan: Plan


class Separated(FactBase, frozen=True, kw_only=True, tag="separated"):
    """A chunk's weighted sums are in the blob store."""

    #: Seconds of audio that the chunk advances: with ``elapsed`` this measures the speed.
    seconds: float
    #: Torch device that computed it, for people and for ETAs.
    device: str = "cpu"
    #: What was out of the ordinary, for the job's timeline: it had to be computed on the CPU.
    note: str = ""


class Finalized(FactBase, frozen=True, kw_only=True, tag="finalized"):
    """The stems are encoded and in the blob store."""

    result: Result


class Expanded(FactBase, frozen=True, kw_only=True, tag="expanded"):
    """A playlist has been read."""

    entries: tuple[Entry, ...]
    #: Entries that can't be taken (private, removed, beyond the limit), and why.
    skipped: tuple[Skipped, ...] = ()
    title: str | None = None


class Failed(FactBase, frozen=True, kw_only=True, tag="failed"):
    """The work came to nothing; the problem says whether trying again can help."""

    problem: Problem
    #: Of a download: the extractor that took the address, or the host where that was none in
    #: particular.
    site: str | None = None
    #: Of a finalization: the chunks whose blobs are gone or damaged; only they are made anew.
    lost: tuple[int, ...] = ()
    #: Of a finalization: the track is gone or damaged; everything is made anew.
    track_lost: bool = False


JobFact = Downloaded | Prepared | Separated | Finalized | Failed
Fact = JobFact | Expanded
