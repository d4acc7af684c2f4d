"""The engines: lent out lane by lane, kept warm, started again when they die."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from services.separator.children import answer, unheard
from services.separator.messages import EngineRequest, WarmedUp, WarmUp
from shared.errors import StembusError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from services.separator.children import Helper
    from services.separator.layout import Seat
    from shared.actor.worker import Report

    Log = Callable[[str], None]

#: Models that an engine which is started again is warmed with.
MODELS_REMEMBERED: Final = 2
#: Seconds that loading them may take.
WARM_SECONDS: Final = 120.0

T = TypeVar("T")


class Engines:
    """The engine children: lent out lane by lane, kept warm, started again when they die."""

    def __init__(
        self, *, start: Callable[[Seat], Awaitable[Helper]], seats: Sequence[Seat], log: Log
    ) -> None:
        self._start = start
        self._places = [_Place(seat) for seat in seats]
        self._freed = asyncio.Event()
        #: Engines that works wait for which must have one to themselves; each as often.
        self._awaited: list[_Place] = []
        self._log = log
        #: What is done while nobody waits for it.
        self._unwatched: set[asyncio.Task[None]] = set()

    @property
    def lanes(self) -> int:
        """Chunks that can be worked on at once."""
        return sum(place.seat.lanes for place in self._places)

    @property
    def idle(self) -> bool:
        """Whether nothing is at work."""
        return all(place.free == place.seat.lanes for place in self._places)

    @asynccontextmanager
    async def lend(self, *, alone: bool = False) -> AsyncIterator[Engine]:
        """A lane of a living engine; whatever happens to it meanwhile, the lane is free again.

        Of several the one with the most free lanes, a warm one before one that sleeps.
        ``alone``: all lanes of one, so that nothing else dies with it; nobody else is lent any
        of that one while it is waited for.
        """
        place = await self._taken(alone=alone)
        lanes = place.seat.lanes if alone else 1
        try:
            yield Engine(await self._living(place), place.models)
        finally:
            if place.helper is not None and not place.helper.alive and not place.reviving:
                self._revive(place, lanes)
            else:
                self._free(place, lanes)

    def _free(self, place: _Place, lanes: int) -> None:
        place.free += lanes
        self._freed.set()

    async def _taken(self, *, alone: bool) -> _Place:
        awaited = [max(self._places, key=lambda one: one.free)] if alone else []
        self._awaited += awaited
        try:
            while (place := self._best(alone=alone)) is None:
                self._freed.clear()
                await self._freed.wait()
        finally:
            for one in awaited:
                self._awaited.remove(one)
            self._freed.set()  # who was held up by this one may look again
        place.free -= place.seat.lanes if alone else 1
        return place

    def _best(self, *, alone: bool) -> _Place | None:
        if alone:
            able = [one for one in self._places if one.free == one.seat.lanes]
        else:
            able = [one for one in self._places if one.free and one not in self._awaited]
        return max(able, key=lambda one: (one.free, one.helper is not None), default=None)

    def wake(self) -> None:
        """Start an engine before it is asked for: torch alone takes a second to import."""
        self._see_to(self._warm(self._places[0]))

    async def close(self) -> None:
        """End every engine: for an orderly stop, after the works have ended."""
        for task in self._unwatched:
            task.cancel()
        await asyncio.gather(*self._unwatched, return_exceptions=True)
        for place in self._places:
            if place.helper is not None:
                await place.helper.kill()
                place.helper = None

    async def _living(self, place: _Place) -> Helper:
        async with place.starting:
            if place.helper is None or not place.helper.alive:
                place.helper = None
                place.helper = await self._start(place.seat)
            return place.helper

    def _revive(self, place: _Place, lanes: int) -> None:
        """Start a dead engine again, with the models that it had, before it is needed.

        Its lanes are free after that: who must be alone with it is not beside the warming.
        """
        place.reviving = True

        def done(_: asyncio.Task[None]) -> None:
            place.reviving = False
            self._free(place, lanes)

        self._see_to(self._warm(place)).add_done_callback(done)

    def _see_to(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Have something done that nobody waits for."""
        task = asyncio.create_task(work)
        self._unwatched.add(task)
        task.add_done_callback(self._unwatched.discard)
        return task

    async def _warm(self, place: _Place) -> None:
        try:
            helper = await self._living(place)
            if place.models:
                request = WarmUp(models=tuple(place.models))
                await answer(helper, request, WarmedUp, unheard, WARM_SECONDS)
        except StembusError as exc:
            self._log(f"an engine could not be warmed: {exc}")


class _Place:
    """Where an engine sits, whether it lives or not."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.free = seat.lanes
        self.helper: Helper | None = None
        self.starting = asyncio.Lock()
        #: Whether it is being started again, and takes whoever's lanes that takes.
        self.reviving = False
        #: The models that it was asked for last.
        self.models: list[str] = []


class Engine:
    """A lane of an engine, as long as it is lent."""

    def __init__(self, helper: Helper, models: list[str]) -> None:
        self._helper = helper
        self._models = models

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""
        return self._helper.alive

    async def answer(
        self, request: EngineRequest, kind: type[T], report: Report, silence: float
    ) -> T:
        """See ``answer``."""
        return await answer(self._helper, request, kind, report, silence)

    def has(self, model: str) -> None:
        """It has this model in memory now: it gets it again when it is started anew."""
        if model in self._models:
            self._models.remove(model)
        self._models.append(model)
        del self._models[:-MODELS_REMEMBERED]
