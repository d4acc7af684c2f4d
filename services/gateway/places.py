"""Where a waiting job stands in the queue, as the scheduler has told last."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.job import Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.work import Stage
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.contracts.live import Pause, Queue
    from shared.contracts.snapshot import Snapshot

#: What was told longer ago than this tells nothing any more: it is told again every 5 s.
QUEUE_SECONDS: Final = 15.0
#: What lies farther ahead than this is no estimate.
_HORIZON_SECONDS: Final = 30 * 86_400.0
_STAGE_OF: Final = {
    Phase.DOWNLOAD: Stage.DOWNLOAD,
    Phase.SEPARATION: Stage.SEPARATE,
    Phase.FINALIZATION: Stage.FINALIZE,
}


class Place(Struct, frozen=True, kw_only=True):
    """The data of a ``queue`` event: what changes of a job by waiting."""

    id: str
    position: int | None
    starts_at: datetime | None
    eta: datetime | None
    waits_for: Problem | None


def place_of(seen: Snapshot) -> Place:
    """What of a snapshot is about its place."""
    return Place(
        id=seen.id,
        position=seen.position,
        starts_at=seen.starts_at,
        eta=seen.eta,
        waits_for=seen.waits_for,
    )


def placed(seen: Snapshot, index: int | None, queue: Queue, now: datetime) -> Snapshot:
    """A snapshot with its place in the queue; ``index`` from 0, None if it is not listed."""
    if seen.status is Status.PROCESSING and seen.phase is not None:
        if _STAGE_OF[seen.phase] in queue.absent:
            return replace(seen, waits_for=_obstacle(Code.SERVICE_NO_WORKERS, seen, queue))
        return seen
    if seen.status is not Status.PENDING or seen.held or seen.follows is not None:
        return seen
    code = queue.hindered.get(seen.id) or queue.stalled
    starts_at = None if index is None else _start(index, queue, now)
    return replace(
        seen,
        position=None if index is None else index + 1,
        starts_at=starts_at,
        eta=_later(starts_at, queue.run_seconds),
        waits_for=None if code is None else _obstacle(code, seen, queue),
    )


def _start(index: int, queue: Queue, now: datetime) -> datetime | None:
    if not queue.rate or queue.rate < 0:
        return None
    start = _later(queue.at, index / queue.rate)
    return start and max(start, now)


def _later(moment: datetime | None, seconds: float | None) -> datetime | None:
    if moment is None or seconds is None or not 0 <= seconds <= _HORIZON_SECONDS:
        return None
    return moment + timedelta(seconds=seconds)


def _obstacle(code: Code, seen: Snapshot, queue: Queue) -> Problem:
    detail = ""
    if code is Code.SOURCE_SITE_PAUSED:
        pauses = _pauses_of(seen, queue.pauses)
        detail = "; ".join(
            f"{pause.site} until {pause.until:%Y-%m-%d %H:%M:%SZ}" for pause in pauses
        )
    return Problem.of(RetryableError(code, detail))


def _pauses_of(seen: Snapshot, pauses: tuple[Pause, ...]) -> tuple[Pause, ...]:
    """Those that may be this job's.

    A site is called by its host or by the name of what downloads from it; which hosts have
    which name, only the scheduler knows: a host that has the name in it is taken for one.
    """
    host = (urlsplit(seen.source.url or "").hostname or "").lower()
    exact = tuple(pause for pause in pauses if pause.site.lower() == host)
    named = tuple(pause for pause in pauses if pause.site.partition(":")[0].lower() in host)
    return (exact or named or pauses)[:3]


class Places:
    """The newest order of the queue."""

    def __init__(self, *, now: Callable[[], datetime], steady: Callable[[], float]) -> None:
        self._now = now
        self._steady = steady
        self._queue: Queue | None = None
        self._index: dict[str, int] = {}
        self._heard = float("-inf")

    def heard(self, queue: Queue) -> None:
        """Take in what the scheduler tells."""
        self._queue = queue
        self._index = {job_id: index for index, job_id in enumerate(queue.order)}
        self._heard = self._steady()

    @property
    def newest(self) -> Queue | None:
        """What was told last, unless that is too long ago."""
        return self._queue if self._steady() <= self._heard + QUEUE_SECONDS else None

    def placed(self, seen: Snapshot) -> Snapshot:
        """A snapshot with its place, as far as that is known now."""
        queue = self.newest
        if queue is None:
            return seen
        return placed(seen, self._index.get(seen.id), queue, self._now())
