"""The separator's children: how they are started, lent out, and listened to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from services.separator.config import SeparatorConfig, child_environment, hub_cache, torch_hub
from services.separator.messages import (
    BLOBS_VARIABLE,
    ENGINE_VARIABLE,
    EncodeReport,
    EncodeStems,
    EngineReport,
    EngineRequest,
    EngineSettings,
    Progressed,
    WarmedUp,
    WarmUp,
)
from shared.child import PATIENCE_SECONDS, Child, Limits
from shared.contracts.codec import Decoder, encode
from shared.errors import Code, RetryableError, StembusError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Mapping,
        Sequence,
    )

    from services.separator.layout import Seat
    from shared.actor.worker import Report
    from shared.contracts.live import Activity

    Log = Callable[[str], None]

ENGINE_MODULE: Final = "services.separator.engine"
ENCODE_MODULE: Final = "services.separator.encode"
#: Models that an engine which is started again is warmed with.
MODELS_REMEMBERED: Final = 2
#: Seconds that loading them may take.
WARM_SECONDS: Final = 120.0
#: glibc hands large blocks back to the kernel when they are freed and gets zeroed pages for the
#: next ones: in a network layer by layer, a tenth of a window's time.  An engine keeps them (as
#: much as one window takes), in one heap, so that no thread keeps some of its own; they are
#: given back when there is nothing to do (``devices.free_cache``).  Other allocators do not know
#: these names.
KEPT_MEMORY: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_ARENA_MAX": "1",
}
#: Where measured batch sizes are kept, below the scratch folder.
SIZES_FILE: Final = "batch-sizes.json"

T = TypeVar("T")


class Helper(Protocol):
    """A child process, as far as it is used here (``shared.child.Child``)."""

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""

    def ask(self, request: Any, *, silence: float) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - each child has its own messages
        """The child's reports on ``request``; leaving the iteration early calls it off."""

    async def kill(self) -> None:
        """End it."""


class Engines:
    """The engine children: lent out lane by lane, kept warm, started again when they die."""

    def __init__(
        self, *, start: Callable[[Seat], Awaitable[Helper]], seats: Sequence[Seat], log: Log
    ) -> None:
        self._start = start
        self._places = [_Place(seat) for seat in seats]
        self._freed = asyncio.Event()
        #: Works that wait for an engine of their own.
        self._lonely = 0
        self._log = log
        self._reviving: set[asyncio.Task[None]] = set()

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
        while that is waited for.
        """
        place = await self._taken(alone=alone)
        lanes = place.seat.lanes if alone else 1
        try:
            yield Engine(await self._living(place), place.models)
        finally:
            place.free += lanes
            self._freed.set()
            if place.helper is not None and not place.helper.alive:
                self._revive(place)

    async def _taken(self, *, alone: bool) -> _Place:
        self._lonely += alone
        try:
            while (place := self._best(alone=alone)) is None:
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._lonely -= alone
            self._freed.set()  # who was held up by this one may look again
        place.free -= place.seat.lanes if alone else 1
        return place

    def _best(self, *, alone: bool) -> _Place | None:
        if alone:
            able = [one for one in self._places if one.free == one.seat.lanes]
        else:
            able = [one for one in self._places if one.free and not self._lonely]
        return max(able, key=lambda one: (one.free, one.helper is not None), default=None)

    async def close(self) -> None:
        """End every engine: for an orderly stop, after the works have ended."""
        for task in self._reviving:
            task.cancel()
        await asyncio.gather(*self._reviving, return_exceptions=True)
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

    def _revive(self, place: _Place) -> None:
        """Start a dead engine again, with the models that it had, before it is needed."""
        task = asyncio.create_task(self._warm(place))
        self._reviving.add(task)
        task.add_done_callback(self._reviving.discard)

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


def unheard(activity: Activity, fraction: float | None = None, note: str = "") -> None:
    """A report that nobody waits for."""


async def answer(
    child: Helper,
    request: Any,  # noqa: ANN401 - each child has its own messages
    kind: type[T],
    report: Report,
    silence: float,
) -> T:
    """Ask a child, pass its progress on to ``report``, and give its last word, a ``kind``."""
    found: T | None = None
    async with aclosing(child.ask(request, silence=silence)) as reports:
        async for one in reports:
            if isinstance(one, Progressed):
                report(one.activity, one.fraction, one.note)
            elif isinstance(one, kind):
                found = one
    if found is None:
        raise RetryableError(Code.WORKER_CRASHED, f"it ended without a {kind.__name__}")
    return found


def engine_settings(
    config: SeparatorConfig, environ: Mapping[str, str], seat: Seat
) -> EngineSettings:
    """What the engine of a seat is told."""
    return EngineSettings(
        blobs_url=config.blobs_url,
        models_dir=config.models_dir and str(Path(config.models_dir).expanduser().resolve()),
        hub_cache=str(hub_cache(environ)),
        torch_hub=str(torch_hub(environ)),
        fetch_weights=config.fetch_weights and environ.get("HF_HUB_OFFLINE", "0") in {"", "0"},
        device=seat.device,
        number=seat.number,
        lanes=seat.lanes,
        torch_threads=seat.threads,
        batch_windows=config.batch_windows,
        windows_per_chunk=config.windows_per_chunk,
        models_memory_bytes=config.models_memory_bytes,
        precision=config.precision,
        sizes_path=str((Path(config.scratch_dir) / SIZES_FILE).resolve()),
    )


def engine_starter(
    config: SeparatorConfig, environ: Mapping[str, str], log: Log
) -> Callable[[Seat], Awaitable[Child[EngineRequest, EngineReport]]]:
    """A function that starts the engine of a seat; ``log`` gets the lines that it prints."""
    folder = Path(config.scratch_dir) / "separator"
    reports: Decoder[EngineReport] = Decoder(EngineReport)

    async def start(seat: Seat) -> Child[EngineRequest, EngineReport]:
        settings = engine_settings(config, environ, seat)
        environment = {
            **KEPT_MEMORY,
            **child_environment(environ),
            ENGINE_VARIABLE: encode(settings).decode(),
            # hub downloads over plain HTTP: one progress bar for each file, and no second cache.
            "HF_HUB_DISABLE_XET": "1",
            # numpy adds and multiplies only; its threads would wait beside torch's.
            "OPENBLAS_NUM_THREADS": "1",
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return await Child.start(
                ENGINE_MODULE,
                reports=reports,
                cwd=folder,
                on_line=log,
                limits=Limits(memory_bytes=config.engine_memory_bytes),
                environment=environment,
                patience=PATIENCE_SECONDS,
            )
        except OSError as exc:
            raise RetryableError(Code.WORKER_CRASHED, f"no engine can be started: {exc}") from exc

    return start


def encode_starter(
    config: SeparatorConfig, environ: Mapping[str, str], log: Log
) -> Callable[[Path], Awaitable[Child[EncodeStems, EncodeReport]]]:
    """A function that starts an encoding child in a folder; ``log`` gets the lines it prints."""
    environment = {
        **child_environment(environ),
        BLOBS_VARIABLE: config.blobs_url,
        # One thread: its arithmetic is additions, and each BLAS thread would reserve memory.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    reports: Decoder[EncodeReport] = Decoder(EncodeReport)

    async def start(folder: Path) -> Child[EncodeStems, EncodeReport]:
        try:
            return await Child.start(
                ENCODE_MODULE,
                reports=reports,
                cwd=folder,
                on_line=log,
                limits=Limits(
                    memory_bytes=config.encode_memory_bytes, file_bytes=config.encode_file_bytes
                ),
                environment=environment,
            )
        except OSError as exc:
            raise RetryableError(Code.WORKER_CRASHED, f"no encoder can be started: {exc}") from exc

    return start
