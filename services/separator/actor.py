"""The separator: works in, facts out.  It does not compute; its engines do."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.separator.children import unheard
from services.separator.messages import (
    ChunkStored,
    DescribeModels,
    ModelsDescribed,
    PrepareTrack,
    SeparateChunk,
    TrackPrepared,
)
from shared.blobs import chunk_key
from shared.contracts.facts import Fact, Prepared, Separated
from shared.contracts.work import PrepareWork, SeparateWork, Stage
from shared.errors import Code, RetryableError, StembusError
from shared.separation.windows import chunk_advance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from services.separator.catalogue import Found
    from services.separator.engines import Engine, Engines
    from shared.actor.worker import Report
    from shared.contracts.live import ModelOffer

    Log = Callable[[str], None]

#: Weight of the newest measurement in a model's speed.
_NEWEST: Final = 0.3


class Separator:
    """Takes ``PrepareWork`` and ``SeparateWork``."""

    def __init__(
        self,
        *,
        engines: Engines,
        silence: float,
        clock: Callable[[], float],
        log: Log,
        offers: tuple[ModelOffer, ...] = (),
    ) -> None:
        self._engines = engines
        self._silence = silence
        self._clock = clock
        self._log = log
        self._offers = offers
        self._speeds: dict[str, float] = {}
        self._device = "cpu"

    @property
    def device(self) -> str:
        """The engines' torch device, as far as they have said."""
        return self._device

    @property
    def speeds(self) -> dict[str, float]:
        """Seconds of audio per second of wall time in one slot, by model; the newest first."""
        return dict(reversed(self._speeds.items()))

    def offers(self) -> tuple[ModelOffer, ...]:
        """The models that can be asked for, as the engine last described them.

        Those that it has not seen yet, as far as their names tell.
        """
        return self._offers

    async def perform(self, work: PrepareWork | SeparateWork, report: Report) -> Fact | None:
        """Do the work in an engine; one that is cancelled and does not leave is killed."""
        started = self._clock()
        match work:
            case PrepareWork():
                async with self._engines.lend() as engine:
                    return await self._prepare(engine, work, report, started)
            case SeparateWork():
                async with self._engines.lend() as engine:
                    with surviving_death(engine):
                        return await self._separate(engine, work, report, started)
                # It was this chunk's fault or that of one beside it: who dies alone, is to blame.
                async with self._engines.lend(alone=True) as engine:
                    return await self._separate(engine, work, report, self._clock())

    async def _prepare(
        self, engine: Engine, work: PrepareWork, report: Report, started: float
    ) -> Fact:
        request = PrepareTrack(options=work.options, track=work.track)
        prepared = await engine.answer(request, TrackPrepared, report, self._silence)
        engine.has(prepared.plan.model)
        self._device = prepared.device
        self._offers = tuple(
            replace(offer, digest=prepared.plan.digest)
            if offer.name == prepared.plan.model
            else offer
            for offer in self._offers
        )
        return Prepared(
            job_id=work.job_id,
            stage=Stage.SEPARATE,
            unit=work.unit,
            attempt=work.attempt,
            elapsed=self._clock() - started,
            plan=prepared.plan,
        )

    async def _separate(
        self, engine: Engine, work: SeparateWork, report: Report, started: float
    ) -> Fact:
        order = SeparateChunk(
            track=work.track,
            plan=work.plan,
            chunk=work.chunk,
            key=chunk_key(work.run, work.attempt, work.chunk),
        )
        stored = await engine.answer(order, ChunkStored, report, self._silence)
        elapsed = self._clock() - started
        usual = stored.device != "cpu" or self._device == "cpu"
        if not stored.found:
            engine.has(work.plan.model)
            self._measure(work.plan.model, chunk_advance(work.plan, work.chunk), elapsed)
        return Separated(
            job_id=work.job_id,
            stage=Stage.SEPARATE,
            unit=work.unit,
            attempt=work.attempt,
            elapsed=elapsed,
            seconds=stored.seconds,
            device=stored.device,
            note="" if usual else f"no room on {self._device}: computed on the CPU",
        )

    async def describe(self) -> None:
        """Learn from an engine which models there are; starts one if none runs."""
        async with self._engines.lend() as engine:
            described = await engine.answer(
                DescribeModels(), ModelsDescribed, unheard, self._silence
            )
        self._offers, self._device = described.models, described.device

    async def watch_models(
        self,
        look: Callable[[], Mapping[Found, ModelOffer]],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """Describe the models at the start and whenever a ``look`` shows others; never returns.

        ``look`` is cheap: it opens no file.  ``pause`` waits until the next one is due.  A busy
        engine is not disturbed: until it is idle, what is new is offered as it looks.
        """
        described: frozenset[Found] = frozenset()
        shown: frozenset[Found] = frozenset()
        while True:
            try:
                seen = await asyncio.to_thread(look)
                if seen.keys() != shown:
                    self._offers = _merged(self._offers, seen, shown, described)
                    shown = frozenset(seen)
                if shown != described and self._engines.idle:
                    await self.describe()
                    described = shown
            except (StembusError, OSError) as exc:
                self._log(f"the models can't be described: {exc}")
            await pause()

    def _measure(self, model: str, seconds: float, elapsed: float) -> None:
        speed = seconds / max(elapsed, 1e-6)
        before = self._speeds.pop(model, speed)
        self._speeds[model] = before + _NEWEST * (speed - before)


def _merged(
    offers: tuple[ModelOffer, ...],
    seen: Mapping[Found, ModelOffer],
    shown: frozenset[Found],
    described: frozenset[Found],
) -> tuple[ModelOffer, ...]:
    """What is offered of the models that are ``seen``: as it was where their files are the same.

    What an engine was shown and did not describe it could not read.
    """
    known = {offer.name: offer for offer in offers}
    return tuple(
        known.get(found.name, offer) if found in shown else offer
        for found, offer in seen.items()
        if found.name in known or found not in described
    )


@contextmanager
def surviving_death(engine: Engine) -> Iterator[None]:
    """Go on after the engine's own death; an error that it lives to tell passes."""
    try:
        yield
    except RetryableError as exc:
        if exc.code is not Code.WORKER_CRASHED or engine.alive:
            raise
