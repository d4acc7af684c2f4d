"""The scheduler: messages in, state stored, words out; one at a time.

Holds the unfinished jobs in memory, each with its revision.  What it holds is a cache: every
write is a compare-and-set, and a conflict means reading again and deciding again.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import (
    Changed,
    Circumstances,
    Dispatched,
    Due,
    Refusal,
    Repeated,
    Stale,
    Stimulus,
)
from services.scheduler.dispatch import Capacity, choose, chunk_window
from services.scheduler.progress import Speeds, expected
from shared.contracts.commands import Accepted, CancelJob, Refused, Reply, RetryJob, SubmitJob
from shared.contracts.facts import Finalized
from shared.contracts.job import Job, UnitState
from shared.contracts.snapshot import snapshot
from shared.contracts.work import Stage, Word
from shared.jetstream.store import ConflictError, Stored
from shared.telemetry import TRACEPARENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.fleet import Fleet

#: Attempts of one write; more than one conflict in a row means two owners are fighting.
_WRITES: Final = 5


class Store(Protocol):
    """The jobs' bucket, with writes that are compare-and-set."""

    async def load(self, job_id: str) -> Stored | None:
        """The newest record of a job."""

    async def write(self, job: Job, revision: int) -> int:
        """Replace revision ``revision`` of it; ``ConflictError`` if it is another by now."""

    def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        """Every record, by revision."""


class LeaseLostError(Exception):
    """Somebody else may be the owner now: nothing may be decided any more."""


class Scheduler:
    """The actor that owns all jobs."""

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        may_act: Callable[[], bool],
        steady: Callable[[], float],
        chance: Callable[[], float],
        max_processing: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._may_act = may_act
        self._steady = steady
        self._chance = chance
        self._max_processing = max_processing
        self._log = log
        self._active: dict[str, tuple[int, Job]] = {}
        #: Set whenever something may have become possible: a dispatch, a retry that is due.
        self.stirred = asyncio.Event()

    @property
    def active(self) -> int:
        """Number of unfinished jobs."""
        return len(self._active)

    def job(self, job_id: str) -> Job | None:
        """An unfinished job."""
        found = self._active.get(job_id)
        return found[1] if found else None

    def trace_of(self, job_id: str) -> dict[str, str]:
        """The trace context of a job's submission, as message headers."""
        job = self.job(job_id)
        return {TRACEPARENT: job.traceparent} if job and job.traceparent else {}

    async def take_over(self) -> list[Word]:
        """Read the state there is; the words that may never have been said."""
        self._active.clear()
        words: list[Word] = []
        async for stored in self._store.scan():
            if stored.job is not None and not stored.job.status.terminal:
                self._active[stored.job_id] = (stored.revision, stored.job)
                words.extend(stored.job.outbox)
        self.stirred.set()
        return words

    async def receive(self, message: Stimulus, *, deliveries: int = 1) -> Sequence[Word | Reply]:
        """Decide on a message, store what follows, return what is to be said."""
        del deliveries
        outcome = await self._decide(message)
        self._learn(message, outcome)
        self.stirred.set()
        words: list[Word | Reply] = []
        if isinstance(message, (SubmitJob, CancelJob, RetryJob)) and message.reply_to:
            words.append(Reply(to=message.reply_to, answer=_answer(outcome)))
        if isinstance(outcome, (Changed, Repeated)):
            words.extend(outcome.job.outbox)
        if isinstance(outcome, Stale):
            self._log.info("stale", kind=type(message).__name__, why=outcome.why)
        return words

    def decisions(self) -> list[Dispatched | Due]:
        """What the scheduler has to tell itself now: jobs whose turn or time has come."""
        now = datetime.now(UTC)
        due = [Due(job.id) for _, job in self._active.values() if _due(job, now)]
        chosen = choose((job for _, job in self._active.values()), self._capacity())
        return [*due, *(Dispatched(job_id) for job_id in chosen)]

    def next_due(self) -> float | None:
        """Seconds until some job's time comes; None if none waits for a time."""
        now = datetime.now(UTC)
        times = [at for _, job in self._active.values() for at in _times(job)]
        return max(0.0, (min(times) - now).total_seconds()) if times else None

    def speeds(self, job: Job) -> Speeds:
        """What is known of how fast ``job`` will go."""
        model = job.plan.model if job.plan else job.options.model
        return Speeds(
            separation=self._fleet.separation_speed(model),
            slots=max(1, self._capacity().separate_slots),
            finalization=self._fleet.finalization_speed,
        )

    def _capacity(self) -> Capacity:
        now = self._steady()
        return Capacity(
            download_slots=self._fleet.slots(Stage.DOWNLOAD, now),
            separate_slots=self._fleet.slots(Stage.SEPARATE, now),
            max_processing=self._max_processing,
        )

    async def _decide(self, message: Stimulus) -> Changed | Repeated | Stale | Refusal:
        conflicted = False
        for _ in range(_WRITES):
            if not self._may_act():
                raise LeaseLostError
            revision, job = await self._current(message.job_id)
            circumstances = Circumstances(
                now=datetime.now(UTC),
                window=chunk_window(self._capacity()),
                chance=self._chance(),
            )
            outcome = advance(job, message, circumstances)
            if not isinstance(outcome, Changed):
                # What somebody else wrote may never have been said.
                said_for = job if conflicted and isinstance(outcome, Stale) else None
                return Repeated(said_for) if said_for else outcome
            changed = self._estimated(outcome.job)
            try:
                revision = await self._store.write(changed, revision)
            except ConflictError:
                self._log.warning("somebody else wrote", job_id=message.job_id)
                self._active.pop(message.job_id, None)
                conflicted = True
                continue
            self._remember(changed, revision)
            return Changed(changed)
        raise LeaseLostError

    def _estimated(self, job: Job) -> Job:
        eta = expected(job, job.updated_at, job.progress, self.speeds(job))
        return job if eta == job.eta else replace(job, eta=eta)

    async def _current(self, job_id: str) -> tuple[int, Job | None]:
        if job_id in self._active:
            return self._active[job_id]
        stored = await self._store.load(job_id)
        if stored is None:
            return 0, None
        if stored.job is not None and not stored.job.status.terminal:
            self._active[job_id] = (stored.revision, stored.job)
        return stored.revision, stored.job

    def _remember(self, job: Job, revision: int) -> None:
        if job.status.terminal:
            self._active.pop(job.id, None)
        else:
            self._active[job.id] = (revision, job)
        self._log.info(
            "decided", job_id=job.id, status=job.status, phase=job.phase, revision=revision
        )

    def _learn(self, message: Stimulus, outcome: object) -> None:
        if isinstance(message, Finalized) and isinstance(outcome, Changed) and outcome.job.track:
            self._fleet.finalized(outcome.job.track.seconds, message.elapsed)


def _answer(outcome: Changed | Repeated | Stale | Refusal) -> Accepted | Refused:
    match outcome:
        case Changed(job) | Repeated(job):
            return Accepted(job=snapshot(job))
        case Refusal(problem):
            return Refused(problem=problem)
        case Stale(why):
            message = f"a command is never stale: {why}"
            raise AssertionError(message)


def _times(job: Job) -> Iterable[datetime]:
    """The moments that ``job`` waits for."""
    if job.run_at is not None:
        yield job.run_at
    for unit in job.units.values():
        if unit.state is UnitState.WAITING and unit.retry_at is not None:
            yield unit.retry_at


def _due(job: Job, now: datetime) -> bool:
    return any(at <= now for at in _times(job))
