"""Jobs and what happens to them: builders with everything that a test does not care about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from services.scheduler.core import advance
from services.scheduler.decision import Changed, Circumstances, Dispatched
from shared.contracts.audio import (
    AudioFormat,
    Cover,
    Metadata,
    Pass,
    Picture,
    Plan,
    Result,
    StemFile,
    Track,
)
from shared.contracts.commands import CancelJob, RetryJob, SubmitJob
from shared.contracts.facts import Downloaded, Failed, Finalized, Prepared, Separated
from shared.contracts.job import Job, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority, Source, Terms
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_STEMS,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
    Stage,
    Work,
)
from shared.errors import Code, RetryableError, TerminalError
from shared.separation.identity import result_id

if TYPE_CHECKING:
    from services.scheduler.decision import Stimulus
    from shared.contracts.facts import JobFact

NOW: Final = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LATER: Final = NOW + timedelta(hours=1)
JOB: Final = "j1"
#: The window that ``at()`` gives unless told otherwise.
WINDOW: Final = 2

_FRAMES_A_CHUNK: Final = 400


def at(now: datetime = NOW, *, window: int = WINDOW, **more: Any) -> Circumstances:  # noqa: ANN401 - whatever there is
    """Circumstances of a decision."""
    return Circumstances(now=now, window=window, **more)


def track(chunks: int = 3) -> Track:
    """A track that ``plan(chunks)`` cuts."""
    return Track(id="t1", frames=_FRAMES_A_CHUNK * chunks, mean=0.0, std=0.5, original="mp3")


def plan(chunks: int = 3) -> Plan:
    """A plan of that many chunks of two windows."""
    return Plan(
        model="htdemucs",
        digest="d1",
        sources=("drums", "bass", "other", "vocals"),
        computed=("vocals",),
        stems=("vocals", "instrumental"),
        frames=_FRAMES_A_CHUNK * chunks,
        passes=(Pass(members=(0,), segment=300, stride=200),),
        chunk_frames=_FRAMES_A_CHUNK,
    )


def result() -> Result:
    """What came of it."""
    return Result(
        id=result_id(track(), plan(), AudioFormat.FLAC, METADATA),
        model="htdemucs",
        digest="d1",
        format=AudioFormat.FLAC,
        frames=1200,
        stems=(
            StemFile(name="vocals", bytes=123, peak=0.5),
            StemFile(name="instrumental", bytes=456, peak=0.75),
        ),
    )


COVER: Final = Cover(track="t1", id="c0", picture=Picture.JPEG, bytes=4000, width=500, height=400)
METADATA: Final = Metadata(
    title="A Song", artist="Somebody", duration=3.0, cover=COVER, extractor="generic"
)


def submit(
    job_id: str = JOB,
    *,
    url: str = "",
    owner: str = "",
    priority: Priority = Priority.NORMAL,
    run_at: datetime | None = None,
    deadline: datetime | None = None,
    reply_to: str = "",
    options: Options = Options(),  # noqa: B008 - frozen
) -> SubmitJob:
    """A submission; of a song of its own, unless told otherwise."""
    own = "a" if job_id == JOB else f"song-{job_id}"
    return SubmitJob(
        job_id=job_id,
        source=Source(url=url or f"https://example.org/{own}.mp3"),
        options=options,
        terms=Terms(owner=owner, priority=priority, run_at=run_at, deadline=deadline),
        reply_to=reply_to,
    )


def downloaded(attempt: int = 1, *, chunks: int = 3, job_id: str = JOB) -> Downloaded:
    """The download's fact."""
    return Downloaded(
        job_id=job_id,
        stage=Stage.DOWNLOAD,
        unit=UNIT_SOURCE,
        attempt=attempt,
        track=track(chunks),
        metadata=METADATA,
    )


def prepared(attempt: int = 1, *, chunks: int = 3, job_id: str = JOB) -> Prepared:
    """The preparation's fact."""
    return Prepared(
        job_id=job_id,
        stage=Stage.SEPARATE,
        unit=UNIT_PREPARE,
        attempt=attempt,
        plan=plan(chunks),
    )


def separated(chunk: int = 0, attempt: int = 1, *, job_id: str = JOB) -> Separated:
    """A chunk's fact."""
    return Separated(
        job_id=job_id, stage=Stage.SEPARATE, unit=str(chunk), attempt=attempt, seconds=5.0
    )


def finalized(attempt: int = 1, *, job_id: str = JOB, elapsed: float = 0.0) -> Finalized:
    """The finalization's fact."""
    return Finalized(
        job_id=job_id,
        stage=Stage.FINALIZE,
        unit=UNIT_STEMS,
        attempt=attempt,
        result=result(),
        elapsed=elapsed,
    )


RETRYABLE: Final = Problem.of(RetryableError(Code.WORKER_CRASHED, "it died"))
TERMINAL: Final = Problem.of(TerminalError(Code.SOURCE_NOT_FOUND, "it is not there"))


def failed(
    stage: Stage, unit: str, attempt: int = 1, *, problem: Problem = RETRYABLE, job_id: str = JOB
) -> Failed:
    """A failure's fact."""
    return Failed(job_id=job_id, stage=stage, unit=unit, attempt=attempt, problem=problem)


def stage_of(unit: str) -> Stage:
    """Whose work a unit is."""
    named = {UNIT_SOURCE: Stage.DOWNLOAD, UNIT_STEMS: Stage.FINALIZE}
    return named.get(unit, Stage.SEPARATE)


def fact_of(work: Work, chunks: int = 3) -> JobFact:
    """What a worker says when it has done ``work``."""
    match work:
        case DownloadWork():
            return downloaded(work.attempt, chunks=chunks, job_id=work.job_id)
        case PrepareWork():
            return prepared(work.attempt, chunks=chunks, job_id=work.job_id)
        case SeparateWork():
            return separated(work.chunk, work.attempt, job_id=work.job_id)
        case FinalizeWork():
            return finalized(work.attempt, job_id=work.job_id)
        case _:
            message = f"no fact follows {work}"
            raise AssertionError(message)


def live(job: Job | None, *stimuli: Stimulus, now: datetime = NOW, **more: Any) -> Job:  # noqa: ANN401 - see ``at``
    """``job`` after these have taken effect, each in its turn."""
    for stimulus in stimuli:
        outcome = advance(job, stimulus, at(now, **more))
        assert isinstance(outcome, Changed), (stimulus, outcome)
        job = outcome.job
    assert job is not None
    return job


_RUN: Final = (
    submit(),
    Dispatched(JOB),
    downloaded(),
    prepared(),
    separated(0),
    separated(1),
    separated(2),
    finalized(),
)


def pending() -> Job:
    """A job that waits for its turn."""
    return live(None, submit())


def scheduled() -> Job:
    """A job that waits for ``LATER``."""
    return live(None, submit(run_at=LATER))


def downloading() -> Job:
    """A job whose source is being fetched."""
    return live(None, *_RUN[:2])


def preparing() -> Job:
    """A job that waits for its plan."""
    return live(None, *_RUN[:3])


def separating(done: int = 0) -> Job:
    """A job of three chunks, ``done`` of which are done, two out at most."""
    return live(None, *_RUN[: 4 + done])


def finalizing() -> Job:
    """A job whose stems are being encoded."""
    return live(None, *_RUN[:7])


def completed() -> Job:
    """A job that has its stems."""
    return live(None, *_RUN)


def broken() -> Job:
    """A job that has failed in separation, one chunk done."""
    failure = failed(Stage.SEPARATE, "1", problem=TERMINAL)
    return live(separating(1), failure)


def cancelled() -> Job:
    """A job that was called off in separation."""
    return live(separating(1), CancelJob(job_id=JOB))


def retried() -> Job:
    """A failed job that waits for its turn again."""
    return live(broken(), RetryJob(job_id=JOB))


#: A job of each status.
OF_STATUS: Final = {
    Status.SCHEDULED: scheduled,
    Status.PENDING: pending,
    Status.PROCESSING: separating,
    Status.COMPLETED: completed,
    Status.FAILED: broken,
    Status.CANCELLED: cancelled,
}


def out(job: Job) -> list[str]:
    """Chunks that are out: ordered, or waiting for their next attempt."""
    return sorted(
        name
        for name, unit in job.units.items()
        if name.isdigit() and (unit.state is UnitState.ORDERED or unit.retry_at is not None)
    )


def done(attempt: int = 1) -> Unit:
    """A unit that is done."""
    return Unit(UnitState.DONE, attempt)


def ordered(attempt: int = 1, failures: int = 0) -> Unit:
    """A unit that is out."""
    return Unit(UnitState.ORDERED, attempt, failures)
