"""A scheduler with everything around it in memory, and a clock that a test turns."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

import structlog

from services.scheduler.actor import Scheduler
from services.scheduler.archive import Archive
from services.scheduler.batches import Batches
from services.scheduler.breaker import BreakerLimits
from services.scheduler.deciding import Decider, LifeLimits
from services.scheduler.dispatcher import Dispatcher, QueueLimits
from services.scheduler.fleet import Fleet
from services.scheduler.ledger import Ledger
from services.scheduler.precedents import Precedents
from services.scheduler.records import Records
from services.scheduler.retention import RetentionLimits
from shared.contracts.job import Job
from shared.contracts.live import Beat
from shared.contracts.work import Stage
from tests.support.jobs import JOB, NOW
from tests.support.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from shared.contracts.batch import Batch

ONE_EACH: Final[Mapping[Stage, int]] = dict.fromkeys(Stage, 1)
#: Of a logger that nobody listens to.
_CRITICAL: Final = 50


def silent() -> FilteringBoundLogger:
    """A logger that writes nowhere."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(_CRITICAL)
    )
    return logger


class Clock:
    """What time it is: it goes on only when a test says so."""

    def __init__(self, now: datetime = NOW) -> None:
        self._began = now
        self.now = now

    def __call__(self) -> datetime:
        """The time of day."""
        return self.now

    def steady(self) -> float:
        """Seconds of a clock that nobody sets."""
        return (self.now - self._began).total_seconds()

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class Realm:
    """A scheduler, its bucket, and workers as many as ``slots`` says; to be closed."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        *records: Job | Batch,
        store: MemoryStore | None = None,
        clock: Clock | None = None,
        slots: Mapping[Stage, int] = ONE_EACH,
        queue: QueueLimits = QueueLimits(max_processing=4),  # noqa: B008 - frozen
        life: LifeLimits = LifeLimits(),  # noqa: B008
        breakers: BreakerLimits = BreakerLimits(),  # noqa: B008
        retention: RetentionLimits = RetentionLimits(),  # noqa: B008
        reuse_seconds: float = 7 * 24 * 3600.0,
        chance: Callable[[], float] = lambda: 0.0,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        log = log or silent()
        self.store = store or MemoryStore()
        for record in records:
            self.store.put(record)
        self.clock = clock or Clock()
        self.slots = dict(slots)
        self.may_act = True
        self.archive = Archive(Path(tempfile.gettempdir()) / f"archive-{uuid4().hex}.sqlite")
        self.fleet = Fleet()
        self.ledger = Ledger(life.times)
        self.records = Records(store=self.store, ledger=self.ledger, archive=self.archive)
        self.dispatcher = Dispatcher(
            ledger=self.ledger,
            fleet=self.fleet,
            steady=self.clock.steady,
            limits=queue,
            breakers=breakers,
        )
        self.decider = Decider(
            records=self.records,
            dispatcher=self.dispatcher,
            fleet=self.fleet,
            precedents=Precedents(
                records=self.records,
                fleet=self.fleet,
                steady=self.clock.steady,
                reuse_seconds=reuse_seconds,
            ),
            may_act=lambda: self.may_act,
            now=self.clock,
            chance=chance,
            limits=life,
            log=log,
        )
        self.batches = Batches(
            records=self.records,
            decider=self.decider,
            dispatcher=self.dispatcher,
            now=self.clock,
            chance=chance,
            limits=life,
            log=log,
        )
        self.scheduler = Scheduler(
            records=self.records,
            dispatcher=self.dispatcher,
            decider=self.decider,
            batches=self.batches,
            retention=retention,
            now=self.clock,
            steady=self.clock.steady,
            log=log,
        )
        self.beat()

    def beat(self) -> None:
        """All workers give a sign of life."""
        for stage, slots in self.slots.items():
            sign = Beat(worker="w", stage=stage, slots=slots, busy=0)
            self.fleet.heard(sign, self.clock.steady())

    def forward(self, seconds: float) -> None:
        """Let time pass, the workers still there."""
        self.clock.forward(seconds)
        self.beat()

    def stored(self, job_id: str = JOB) -> Job:
        """A job's record, which must be there."""
        job = self.store.job(job_id)
        assert job is not None, job_id
        return job

    def close(self) -> None:
        """Let go of the archive."""
        self.archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
