"""Batches: their own records, and the errands that make, cancel and retry their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scheduler.batch import (
    STRIDE,
    BatchChanged,
    BatchDue,
    BatchOutcome,
    BatchRepeated,
    BatchStimulus,
    ErrandDone,
    ErrandTurn,
    advance_batch,
    errand_on,
    words_of,
)
from services.scheduler.deciding import WRITES, LeaseLostError, LifeLimits
from services.scheduler.decision import Changed, Circumstances, Refusal, Repeated, Stale
from shared.contracts.commands import SubmitBatch
from shared.jetstream.store import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from services.scheduler.deciding import Decider
    from services.scheduler.dispatcher import Dispatcher
    from services.scheduler.records import Records
    from shared.contracts.batch import Batch
    from shared.contracts.work import Word


class Batches:
    """The part of the scheduler that handles batches."""

    def __init__(
        self,
        *,
        records: Records,
        decider: Decider,
        dispatcher: Dispatcher,
        now: Callable[[], datetime],
        chance: Callable[[], float],
        limits: LifeLimits,
        log: FilteringBoundLogger,
    ) -> None:
        self._records = records
        self._decider = decider
        self._dispatcher = dispatcher
        self._now = now
        self._chance = chance
        self._limits = limits
        self._log = log
        #: How far errands have come whose words were said, and whose records don't know it yet.
        self._reached: dict[str, int] = {}

    def begin(self) -> None:
        """Forget how far errands have come: the records know what is sure."""
        self._reached.clear()

    def outbox(self) -> list[Word]:
        """The words of all batches, which may never have been said."""
        return [word for batch in self._records.restless() for word in words_of(batch)]

    def decisions(self, now: datetime) -> list[BatchDue | ErrandTurn]:
        """What there is to be told to batches now."""
        found: list[BatchDue | ErrandTurn] = []
        for batch in self._records.restless():
            if batch.errand is not None:
                found.append(ErrandTurn(batch.id))
            elif (at := _retry_at(batch)) is not None and at <= now:
                found.append(BatchDue(batch.id))
        return found

    def next_time(self) -> datetime | None:
        """The next moment at which something is due."""
        return min(filter(None, map(_retry_at, self._records.restless())), default=None)

    async def decide(self, message: BatchStimulus) -> BatchOutcome:
        """What came of ``message``; it is stored when this returns."""
        anew = False
        for _ in range(WRITES):
            self._decider.must_act()
            stored = await self._records.batch(message.job_id, anew=anew)
            at, room = self._circumstances(stored.batch, message)
            outcome = advance_batch(stored.batch, message, at, room)
            if isinstance(outcome, (Stale, Refusal)) and not anew:
                anew = True  # it must not be dropped for what a record is no more
                continue
            if not isinstance(outcome, BatchChanged):
                return outcome
            try:
                await self._records.write_batch(outcome.batch, stored.revision)
            except ConflictError:
                self._log.warning("somebody else wrote", batch_id=message.job_id)
                continue
            self._reached.pop(message.job_id, None)  # of an errand that is done or has changed
            status, errand = outcome.batch.status, outcome.batch.errand
            self._log.info("decided", batch_id=message.job_id, status=status, errand=errand)
            return outcome
        raise LeaseLostError

    async def turn(self, batch_id: str) -> Sequence[Word]:
        """Do an errand's next stride; the words that follow for the jobs it came to.

        That it came so far is stored in the next turn, when these words have been said.
        """
        if (reached := self._reached.pop(batch_id, None)) is not None:
            await self.decide(ErrandDone(batch_id, reached))
        # Anew: what this makes is not compared with the batch's record.
        batch = (await self._records.batch(batch_id, anew=True)).batch
        if batch is None or batch.errand is None:
            return ()
        words: list[Word] = []
        end = min(batch.next + STRIDE, len(batch.entries))
        for number in range(batch.next, end):
            for command in errand_on(batch, number):
                outcome = await self._decider.decide(command)
                if isinstance(outcome, (Changed, Repeated)):
                    words.extend(outcome.job.outbox)
        self._reached[batch_id] = end
        return words

    def _circumstances(
        self, batch: Batch | None, message: BatchStimulus
    ) -> tuple[Circumstances, int]:
        extra = self._records.expanding
        full, owner = None, batch.terms.owner if batch else ""
        if isinstance(message, SubmitBatch):
            owner = message.terms.owner
            full = self._dispatcher.full(owner, max(1, len(message.entries)), extra)
        else:
            extra = max(0, extra - 1)  # the place that the batch itself has
        at = Circumstances(
            now=self._now(),
            chance=self._chance(),
            retries=self._limits.retries,
            full=full,
        )
        return at, self._dispatcher.room(owner, extra)


def answered(outcome: BatchOutcome) -> Batch | None:
    """The batch that a command took effect on, now or before."""
    return outcome.batch if isinstance(outcome, (BatchChanged, BatchRepeated)) else None


def _retry_at(batch: Batch) -> datetime | None:
    return batch.unit.retry_at if batch.unit else None
