"""What the server answers with, as far as it is not in the contracts; and how it refuses.

Whatever may be missing has a default, so that a server of another version is understood.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from msgspec import Struct, field

from shared.contracts.batch import BatchSnapshot
from shared.contracts.problem import Problem
from shared.contracts.snapshot import Snapshot


class ProblemBody(Struct, frozen=True):
    """What the server says of a failure."""

    title: str = "The server answered with an error"
    detail: str = ""
    hint: str = ""
    code: str = ""
    retry_after: float | None = None


class ApiError(Exception):
    """The server refused; ``problem`` says why, ``retry_after`` when to ask again (seconds)."""

    def __init__(
        self, problem: ProblemBody, status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.status = status
        self.retry_after = problem.retry_after if retry_after is None else retry_after

    @property
    def busy(self) -> bool:
        """Whether the same request may be taken later."""
        return self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

    @property
    def missing(self) -> bool:
        """Whether there is no such job, or no such batch."""
        return self.problem.code in {"job.not_found", "batch.not_found"}


class UnreachableError(Exception):
    """No server answers at this address."""


class LostError(Exception):
    """The connection to this address broke before there was an answer."""


class StrangeAnswerError(Exception):
    """What this address answers with is not what this version knows."""


class JobPage(Struct, frozen=True):
    """A page of jobs."""

    jobs: list[Snapshot]
    #: Live events go on from here.
    revision: int = 0
    #: Token of the next page.
    next: str | None = None


class BatchView(BatchSnapshot, frozen=True, kw_only=True):
    """A batch, with what the gateway makes of its jobs."""

    progress: float = 0.0
    #: Number of its jobs by status.
    counts: dict[str, int] = field(default_factory=dict)
    #: ``expanding``, ``processing``, ``completed``, ``failed`` or ``cancelled``.
    state: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing but a retry can change it any more."""
        return self.state in {"completed", "failed", "cancelled"}


class BatchPage(Struct, frozen=True):
    """A page of batches."""

    batches: list[BatchView]
    next: str | None = None


class Place(Struct, frozen=True, kw_only=True):
    """A waiting job's place in the queue has changed."""

    id: str
    position: int | None = None
    starts_at: datetime | None = None
    eta: datetime | None = None
    waits_for: Problem | None = None


class Gone(Struct, frozen=True):
    """A job has been removed."""

    id: str


class Quantiles(Struct, frozen=True):
    """Seconds that half, nine tenths and nearly all of ``n`` jobs stayed below."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    n: int = 0


class QueueFigures(Struct, frozen=True):
    """The jobs that wait."""

    waiting: int = 0
    held: int = 0
    #: Jobs that end in a minute.
    rate_per_minute: float | None = None
    #: Why none can start.
    stalled: str | None = None
    oldest_wait_seconds: float | None = None


class Flow(Struct, frozen=True):
    """Jobs that came and ended within some time."""

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class WorkerFigures(Struct, frozen=True, kw_only=True):
    """One worker, as its last heartbeat has it."""

    worker: str
    stage: str
    slots: int = 0
    busy: int = 0
    device: str = ""
    #: Seconds of audio in a second, by model.
    speeds: dict[str, float] = {}
    #: Why it takes no work.
    ailment: str | None = None
    seen_seconds_ago: float | None = None


class SitePause(Struct, frozen=True, kw_only=True):
    """A site that is left alone."""

    site: str
    until: datetime
    code: str = ""


class Stats(Struct, frozen=True):
    """The body of ``GET /v1/stats``."""

    #: Number of jobs by status; those held are counted beside.
    jobs: dict[str, int] = {}
    queue: QueueFigures = QueueFigures()
    last_hour: Flow = Flow()
    last_day: Flow = Flow()
    #: Failures of the last day by code.
    failures: dict[str, int] = {}
    wait_seconds: Quantiles = Quantiles()
    run_seconds: Quantiles = Quantiles()
    workers: list[WorkerFigures] = []
    pauses: list[SitePause] = []
    revision: int = 0
