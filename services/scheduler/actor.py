"""The scheduler: messages in, state stored, words out; one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from services.scheduler.batch import BatchChanged, BatchDue, BatchExpired, BatchRepeated, ErrandTurn
from services.scheduler.batches import answered
from services.scheduler.decision import (
    Changed,
    Decision,
    Expired,
    Outcome,
    Refusal,
    Removed,
    Repeated,
    Stale,
    Stimulus,
)
from services.scheduler.retention import RetentionLimits, expired, expired_batches
from shared.contracts.batch import batch_snapshot
from shared.contracts.commands import (
    Accepted,
    AcceptedBatch,
    BatchCommand,
    CancelBatch,
    CommandBase,
    Refused,
    Reply,
    RetryBatch,
    SubmitBatch,
)
from shared.contracts.facts import Expanded, Failed
from shared.contracts.snapshot import snapshot
from shared.contracts.work import UNIT_PLAYLIST, Word
from shared.telemetry import TRACEPARENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.batch import BatchOutcome
    from services.scheduler.batches import Batches
    from services.scheduler.deciding import Decider
    from services.scheduler.dispatcher import Dispatcher
    from services.scheduler.progress import Speeds
    from services.scheduler.records import Records
    from shared.contracts.commands import Answer
    from shared.contracts.job import Job
    from shared.contracts.live import Queue

#: How often it is asked what has expired.
RETENTION_SECONDS: Final = 5.0

#: What the scheduler tells itself.
Own = Decision | BatchDue | ErrandTurn | BatchExpired
Message = Stimulus | BatchCommand | Expanded | Own


class Scheduler:
    """The actor that owns all jobs and batches."""

    def __init__(
        self,
        *,
        records: Records,
        dispatcher: Dispatcher,
        decider: Decider,
        batches: Batches,
        retention: RetentionLimits,
        now: Callable[[], datetime],
        steady: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        self._records = records
        self._dispatcher = dispatcher
        self._decider = decider
        self._batches = batches
        self._retention = retention
        self._now = now
        self._steady = steady
        self._log = log
        self._looked = float("-inf")
        #: Set whenever something may have become possible: a dispatch, a retry that is due.
        self.stirred = asyncio.Event()

    @property
    def active(self) -> int:
        """Number of unfinished jobs."""
        return len(self._records.ledger)

    def job(self, job_id: str) -> Job | None:
        """An unfinished job."""
        found = self._records.ledger.get(job_id)
        return found[1] if found else None

    def speeds(self, job: Job) -> Speeds:
        """What is known of how fast ``job`` will go."""
        return self._decider.speeds(job)

    def trace_of(self, job_id: str) -> dict[str, str]:
        """The trace context of a job's submission, as message headers."""
        job = self.job(job_id)
        return {TRACEPARENT: job.traceparent} if job and job.traceparent else {}

    async def catch_up(self) -> None:
        """Read what others have written, so that taking over takes no time."""
        await self._records.catch_up()

    async def take_over(self) -> list[Word]:
        """Read the state there is; the words that may never have been said."""
        await self._records.catch_up()
        self._dispatcher.begin()
        self._batches.begin()
        self.stirred.set()
        return [
            *(word for job in self._records.ledger for word in job.outbox),
            *self._batches.outbox(),
        ]

    def step_down(self) -> None:
        """Somebody else may be the owner: what is known has to be read anew."""
        self._records.forget()

    async def receive(self, message: Message, *, deliveries: int = 1) -> Sequence[Word | Reply]:
        """Decide on a message, store what follows, return what is to be said."""
        del deliveries
        try:
            return await self._received(message)
        finally:
            # Only now: whoever looks while it is being decided sees nothing new.
            self.stirred.set()

    async def _received(self, message: Message) -> Sequence[Word | Reply]:
        match message:
            case ErrandTurn(batch_id):
                return await self._batches.turn(batch_id)
            case BatchExpired(batch_id):
                self._decider.must_act()
                await self._records.remove_batch(batch_id)
                return ()
            case SubmitBatch() | CancelBatch() | RetryBatch() | Expanded() | BatchDue():
                return self._said_of_batch(message, await self._batches.decide(message))
            case Failed(unit=unit) if unit == UNIT_PLAYLIST:
                return self._said_of_batch(message, await self._batches.decide(message))
            case _:
                return self._said(message, await self._decider.decide(message))

    def decisions(self) -> list[Own]:
        """What the scheduler has to tell itself now: whose turn or time has come."""
        now = self._now()
        return [
            *self._dispatcher.decisions(now),
            *self._batches.decisions(now),
            *self._expired(now),
        ]

    def next_due(self) -> float | None:
        """Seconds until some job's or batch's time comes; None if none waits for a time."""
        times = (self._records.ledger.next_time(), self._batches.next_time())
        first = min((time for time in times if time is not None), default=None)
        if first is None:
            return None
        return max(0.0, (first - self._now()).total_seconds())

    def queue(self) -> Queue:
        """The order of all turns, to be told."""
        return self._dispatcher.queue(self._now())

    def _expired(self, now: datetime) -> list[Expired | BatchExpired]:
        if self._steady() < self._looked + RETENTION_SECONDS:
            return []
        jobs = expired(self._records.archive, now, self._retention)
        active = {job.batch for job in self._records.ledger if job.batch}
        restless = {batch.id for batch in self._records.restless()}
        batches = [
            batch_id
            for batch_id in expired_batches(self._records.archive, now, self._retention)
            if batch_id not in active | restless
        ]
        if not jobs:  # with some, there may be more at once
            self._looked = self._steady()
        return [*map(Expired, jobs), *map(BatchExpired, batches)]

    def _said(self, message: Stimulus, outcome: Outcome) -> list[Word | Reply]:
        words: list[Word | Reply] = []
        if isinstance(message, CommandBase) and message.reply_to:
            words.append(Reply(to=message.reply_to, answer=_answer(outcome)))
        match outcome:
            case Changed(job) | Repeated(job):
                words.extend(job.outbox)
            case Removed():
                words.extend(outcome.words)
            case Stale(why):
                self._log.info("stale", kind=type(message).__name__, why=why)
            case Refusal():
                pass
        return words

    def _said_of_batch(self, message: Message, outcome: BatchOutcome) -> list[Word | Reply]:
        words: list[Word | Reply] = []
        if isinstance(message, CommandBase) and message.reply_to:
            words.append(Reply(to=message.reply_to, answer=_batch_answer(outcome)))
        if isinstance(outcome, (BatchChanged, BatchRepeated)):
            words.extend(outcome.words)
        if isinstance(outcome, Stale):
            self._log.info("stale", kind=type(message).__name__, why=outcome.why)
        return words


def _answer(outcome: Outcome) -> Answer:
    match outcome:
        case Changed(job) | Removed(job, _, _):
            return Accepted(job=snapshot(job))
        case Repeated(job):
            return Accepted(job=snapshot(job), repeated=True)
        case Refusal(problem):
            return Refused(problem=problem)
        case Stale(why):
            message = f"a command is never stale: {why}"
            raise AssertionError(message)


def _batch_answer(outcome: BatchOutcome) -> Answer:
    if isinstance(outcome, Refusal):
        return Refused(problem=outcome.problem)
    batch = answered(outcome)
    if batch is None:
        message = f"a command is never stale: {outcome}"
        raise AssertionError(message)
    return AcceptedBatch(batch=batch_snapshot(batch), repeated=isinstance(outcome, BatchRepeated))
