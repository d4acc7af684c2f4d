"""A worker: one piece of work in, one fact out, unless nobody wants it any more.

The domain half is a ``Performer``; this is what all workers share: is the work still wanted,
stop when it isn't, report progress at a bearable pace, turn failures into facts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

from shared.contracts.codec import UndecodableError
from shared.contracts.facts import Failed
from shared.contracts.live import Activity, Tick
from shared.contracts.problem import Problem
from shared.contracts.work import STAGE_OF, UNASKED, WorkBase
from shared.errors import Code, RetryableError, StembusError, TerminalError, of_os_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.contracts.batch import Batch
    from shared.contracts.facts import Fact
    from shared.contracts.job import Job

W = TypeVar("W", bound=WorkBase)
W_contra = TypeVar("W_contra", bound=WorkBase, contravariant=True)

#: Ticks of one piece of work come no closer than this: fast enough to look live.
TICK_SECONDS: Final = 0.2
#: Deliveries of one message before it is refused.  Handing back at an orderly stop counts, too,
#: so this is well above what a crash of one or two workers needs.
MAX_DELIVERIES: Final = 8
#: How often running work asks whether it is still wanted, should the order to stop get lost.
WANTED_SECONDS: Final = 5.0


class Report(Protocol):
    """Says how far a piece of work is; cheap, never waits, may be called as often as you like."""

    def __call__(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        """``fraction`` of the unit is done (None: unknown); ``note`` is for people."""


class Performer(Protocol[W_contra]):
    """The domain half of a worker.

    ``perform`` raises a ``StembusError`` for every failure that it can name.  It is cancelled
    when the job is: it must then leave within two seconds with its children killed.
    """

    async def perform(self, work: W_contra, report: Report) -> Fact | None:
        """Do the work; the fact that follows, or None where nothing does."""


class Records(Protocol):
    """Reads the records that work is ordered for."""

    async def ordering(self, work: WorkBase) -> Job | Batch | None:
        """The record as it is now, or None if there is none."""


class Worker(Generic[W]):
    """An actor that performs work and answers with facts."""

    def __init__(
        self,
        *,
        worker_id: str,
        performer: Performer[W],
        records: Records,
        tick: Callable[[Tick], Awaitable[None]],
        max_deliveries: int = MAX_DELIVERIES,
    ) -> None:
        self._id = worker_id
        self._performer = performer
        self._records = records
        self._tick = tick
        self._max_deliveries = max_deliveries
        self._running: dict[asyncio.Task[Fact | None], W] = {}
        self._called_off: set[asyncio.Task[Fact | None]] = set()
        self._asking: set[asyncio.Task[None]] = set()

    async def receive(self, message: W, *, deliveries: int) -> Sequence[Fact]:
        """Perform the work, if it is still wanted; the fact to tell, if any.

        Nobody waits for a fact of unasked work: where that fails for want of something that may
        come back, it comes again, and where it does so too often it is let go.
        """
        unasked = isinstance(message, UNASKED)
        if deliveries > self._max_deliveries:
            if unasked:
                return ()
            detail = f"handed out {deliveries - 1} times without an end"
            return (self._failed(message, TerminalError(Code.WORKER_POISON, detail), 0.0),)
        if not await self._wanted(message):
            return ()
        fact = await self._performed(message)
        if unasked and isinstance(fact, Failed):
            if fact.problem.retryable:
                raise RetryableError(fact.problem.code, fact.problem.detail)
            return ()
        return () if fact is None else (fact,)

    async def _performed(self, message: W) -> Fact | None:
        """What came of the work; None if it was stopped, or if there is nothing to tell."""
        started = monotonic()
        pace = _Pace(message, self._tick)
        task = asyncio.create_task(self._performer.perform(message, pace.report))
        self._running[task] = message
        watch = asyncio.create_task(self._watch(message, task))
        try:
            await asyncio.wait({task})
        finally:
            watch.cancel()
            pace.close()
            del self._running[task]
            if not task.done():  # this very task is being cancelled: the service stops
                task.cancel()
                await asyncio.wait({task})
                self._called_off.discard(task)
        elapsed = monotonic() - started
        called_off = task in self._called_off
        self._called_off.discard(task)
        if task.cancelled():
            if called_off:
                return None
            silent = RetryableError(Code.WORKER_CRASHED, "it gave up without a word")
            return self._failed(message, silent, elapsed)
        try:
            fact = task.result()
        except StembusError as exc:
            return self._failed(message, exc, elapsed)
        except OSError as exc:
            return self._failed(message, of_os_error(exc), elapsed)
        return fact and msgspec.structs.replace(
            fact, worker=self._id, elapsed=fact.elapsed or elapsed
        )

    def stop(self, job_id: str) -> None:
        """Stop what is running for this job, unless its record still waits for it.

        An order to stop may come late, when the job has been taken up again: the record knows.
        """
        for task, work in self._running.items():
            if work.job_id == job_id:
                asking = asyncio.create_task(self._stop_unwanted(work, task))
                self._asking.add(asking)
                asking.add_done_callback(self._asking.discard)

    async def _stop_unwanted(self, work: W, task: asyncio.Task[Fact | None]) -> None:
        with suppress(ConnectionError, UndecodableError):  # the watch asks again
            if not await self._wanted(work) and task in self._running:
                self._call_off(task)

    def _call_off(self, task: asyncio.Task[Fact | None]) -> None:
        self._called_off.add(task)
        task.cancel()

    def _failed(self, work: W, error: StembusError, elapsed: float) -> Failed:
        return Failed(
            job_id=work.job_id,
            stage=STAGE_OF[type(work)],
            unit=work.unit,
            attempt=work.attempt,
            worker=self._id,
            elapsed=elapsed,
            problem=Problem.of(error),
            site=error.site,
        )

    async def _wanted(self, work: W) -> bool:
        """Whether the scheduler still waits for this attempt.

        A record that is older than the order (a replica may lag behind) tells nothing: that is
        a ConnectionError, and the work comes again.
        """
        if isinstance(work, UNASKED):
            return True
        record = await self._records.ordering(work)
        awaited = record.awaits(work.unit, work.attempt) if record is not None else None
        if awaited is None:
            message = f"no word yet of {work.job_id}/{work.unit}, attempt {work.attempt}"
            raise ConnectionError(message)
        return awaited

    async def _watch(self, work: W, task: asyncio.Task[Fact | None]) -> None:
        while True:
            await asyncio.sleep(WANTED_SECONDS)
            # A record that can't be read, for whatever reason, stops nothing; it is read again.
            with suppress(ConnectionError, UndecodableError):
                if not await self._wanted(work):
                    self._call_off(task)


class _Pace:
    """Sends the newest report of one piece of work, at most once in ``TICK_SECONDS``."""

    def __init__(self, work: WorkBase, send: Callable[[Tick], Awaitable[None]]) -> None:
        self._work = work
        self._send = send
        self._newest: Tick | None = None
        self._sender: asyncio.Task[None] | None = None
        self._closed = False

    def report(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        """See ``Report``."""
        if self._closed:
            return
        self._newest = Tick(
            job_id=self._work.job_id,
            stage=STAGE_OF[type(self._work)],
            unit=self._work.unit,
            attempt=self._work.attempt,
            activity=activity,
            fraction=fraction,
            note=note,
        )
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while self._newest is not None:
            newest, self._newest = self._newest, None
            with suppress(ConnectionError):  # a tick may be lost
                await self._send(newest)
            await asyncio.sleep(TICK_SECONDS)

    def close(self) -> None:
        """Send nothing more: the fact says it all."""
        self._closed = True
        if self._sender is not None:
            self._sender.cancel()
