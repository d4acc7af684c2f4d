"""Batches and what happens to them: builders with everything that a test does not care about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.scheduler.batch import BatchChanged, ErrandDone, advance_batch
from shared.contracts.batch import Batch, BatchStatus, Entry, Skipped
from shared.contracts.commands import CancelBatch, RetryBatch, SubmitBatch
from shared.contracts.facts import Expanded, Failed
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source
from shared.contracts.work import UNIT_PLAYLIST, Stage
from shared.errors import Code, TerminalError
from tests.support.jobs import NOW, RETRYABLE, TERMINAL, at

if TYPE_CHECKING:
    from datetime import datetime

    from services.scheduler.batch import BatchStimulus

BATCH: Final = "b1"
PLAYLIST: Final = "https://example.org/list"
#: More than any test has.
ROOM: Final = 1_000
CANCEL: Final = CancelBatch(job_id=BATCH)
RETRY: Final = RetryBatch(job_id=BATCH)
SKIPPED: Final = Skipped(
    entry="ftp://example.org/x", problem=Problem.of(TerminalError(Code.SOURCE_SCHEME, "ftp"))
)


def entries(count: int) -> tuple[Entry, ...]:
    """So many songs."""
    return tuple(
        Entry(source=Source(url=f"https://example.org/{number}.mp3"), title=f"Song {number}")
        for number in range(count)
    )


def submit_batch(count: int = 3, *, batch_id: str = BATCH, **more: Any) -> SubmitBatch:  # noqa: ANN401 - whatever there is
    """A submission of so many songs."""
    return SubmitBatch(job_id=batch_id, options=Options(), entries=entries(count), **more)


def submit_playlist(*, batch_id: str = BATCH, **more: Any) -> SubmitBatch:  # noqa: ANN401 - whatever there is
    """A submission of a playlist."""
    return SubmitBatch(job_id=batch_id, options=Options(), playlist=PLAYLIST, **more)


def expanded(count: int = 3, attempt: int = 1, *, batch_id: str = BATCH) -> Expanded:
    """What a downloader has read."""
    return Expanded(
        job_id=batch_id,
        stage=Stage.DOWNLOAD,
        unit=UNIT_PLAYLIST,
        attempt=attempt,
        entries=entries(count),
        title="Songs",
    )


def unreadable(attempt: int = 1, *, problem: Problem = RETRYABLE, batch_id: str = BATCH) -> Failed:
    """A playlist could not be read."""
    return Failed(
        job_id=batch_id,
        stage=Stage.DOWNLOAD,
        unit=UNIT_PLAYLIST,
        attempt=attempt,
        problem=problem,
    )


def live(batch: Batch | None, *stimuli: BatchStimulus, now: datetime = NOW) -> Batch:
    """``batch`` after these have taken effect, each in its turn."""
    for stimulus in stimuli:
        outcome = advance_batch(batch, stimulus, at(now), ROOM)
        assert isinstance(outcome, BatchChanged), (stimulus, outcome)
        batch = outcome.batch
    assert batch is not None
    return batch


def expanding() -> Batch:
    """A batch whose playlist is being read."""
    return live(None, submit_playlist())


def submitting() -> Batch:
    """A batch whose jobs are being made."""
    return live(None, submit_batch())


def submitted() -> Batch:
    """A batch whose jobs have been made."""
    return live(submitting(), ErrandDone(BATCH, 3))


def unread() -> Batch:
    """A batch whose playlist can't be read."""
    return live(expanding(), unreadable(problem=TERMINAL))


def called_off() -> Batch:
    """A batch whose jobs have been called off."""
    return live(submitted(), CANCEL, ErrandDone(BATCH, 3))


#: A batch of each status.
OF_STATUS: Final = {
    BatchStatus.EXPANDING: expanding,
    BatchStatus.EXPANDED: submitted,
    BatchStatus.FAILED: unread,
    BatchStatus.CANCELLED: called_off,
}
