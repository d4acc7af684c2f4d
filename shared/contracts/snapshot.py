"""A job as clients see it: the record without what only the scheduler needs."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from shared.contracts.audio import SAMPLE_RATE, Metadata, Precision, Remark, StemFile
from shared.contracts.job import Job, Moment, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority, Source


class Separation(Struct, frozen=True, kw_only=True):
    """How the song is being, or was, separated."""

    model: str
    stems: tuple[str, ...]
    chunks: int
    chunks_done: int
    precision: Precision = Precision.EXACT
    shifts: int = 0
    #: Pieces that can be heard while the rest is being made: the first ones, without a gap.
    pieces_ready: int = 0
    #: Length of each piece but the last, which goes up to the end of the song.
    piece_seconds: float = 0.0


class Snapshot(Struct, frozen=True, kw_only=True):
    """The public view of a job: the body of every answer and every SSE event about it."""

    id: str
    status: Status
    phase: Phase | None
    progress: float
    source: Source
    options: Options
    owner: str
    priority: Priority
    batch: str | None
    created_at: datetime
    updated_at: datetime
    run_at: datetime | None
    deadline: datetime | None
    queued_at: datetime | None
    #: Whether a client keeps it from being started.
    held: bool
    #: Its place in the queue, from 1; null unless it waits for its turn and is not held.
    position: int | None
    #: When it will be started, as far as the queue's pace tells.
    starts_at: datetime | None
    #: Why it can't be started although it waits.
    waits_for: Problem | None
    #: A job of the same song with the same options that is being processed: this one gets what
    #: comes of it, and has no place in the queue.
    follows: str | None = None
    started_at: datetime | None
    finished_at: datetime | None
    eta: datetime | None
    metadata: Metadata | None
    #: Length of the song in seconds, once it is known exactly.
    seconds: float | None
    #: What the source file was: codec, rate, channels.
    original: str | None
    separation: Separation | None
    #: The finished stems, in the order they are shown; empty until the job has completed.
    stems: tuple[StemFile, ...]
    #: Integrated loudness of the original in LUFS; of each stem it is beside its name.
    loudness: float | None = None
    #: The gain that was applied to every stem alike, so that none clips; 1.0 nearly always.
    gain: float = 1.0
    #: What a listener should know about the stems.
    remarks: tuple[Remark, ...] = ()
    #: Content address of the finished stems: the same song and options give the same one.
    result: str | None
    error: Problem | None
    timeline: tuple[Moment, ...]


def snapshot(job: Job) -> Snapshot:
    """What a client may know of ``job``; its place in the queue is not in the record."""
    separation = (
        None
        if job.plan is None
        else Separation(
            model=job.plan.model,
            stems=job.plan.stems,
            chunks=job.plan.chunks,
            # One that shares the result of another has computed none itself.
            chunks_done=job.plan.chunks if job.result else job.chunks_done,
            precision=job.plan.precision,
            shifts=job.plan.shifts,
            pieces_ready=job.pieces_ready,
            piece_seconds=job.plan.chunk_frames / SAMPLE_RATE,
        )
    )
    return Snapshot(
        id=job.id,
        status=job.status,
        phase=job.phase,
        progress=job.progress,
        source=job.source,
        options=job.options,
        owner=job.terms.owner,
        priority=job.terms.priority,
        batch=job.batch,
        created_at=job.created_at,
        updated_at=job.updated_at,
        run_at=job.terms.run_at or job.run_at,
        deadline=job.terms.deadline,
        queued_at=job.queued_at,
        held=job.held_at is not None,
        position=None,
        starts_at=None,
        waits_for=None,
        follows=job.follows,
        started_at=job.started_at,
        finished_at=job.finished_at,
        eta=job.eta,
        metadata=job.metadata,
        seconds=job.track.seconds if job.track else None,
        original=job.track.original if job.track else None,
        separation=separation,
        stems=job.result.stems if job.result else (),
        loudness=job.result.loudness if job.result else None,
        gain=job.result.gain if job.result else 1.0,
        remarks=job.result.remarks if job.result else (),
        result=job.result.id if job.result else None,
        error=job.error,
        timeline=job.timeline,
    )
