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
)
from shared.child import Child, Limits
from shared.contracts.codec import Decoder, encode
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from shared.actor.worker import Report

    Log = Callable[[str], None]

ENGINE_MODULE: Final = "services.separator.engine"
ENCODE_MODULE: Final = "services.separator.encode"

T = TypeVar("T")


class Helper(Protocol):
    """A child process, as far as it is used here (``shared.child.Child``)."""

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""

    def ask(self, request: Any, *, silence: float) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - each child has its own messages
        """The child's reports on ``request``; leaving the iteration early kills the child."""

    async def kill(self) -> None:
        """End it."""


class Engines:
    """The engine children, one for each slot: lent to one work at a time, kept warm between."""

    def __init__(self, *, start: Callable[[], Awaitable[Helper]], slots: int) -> None:
        self._start = start
        # Last in, first out: the engine that is warm is taken before one that sleeps.
        self._idle: asyncio.LifoQueue[Helper | None] = asyncio.LifoQueue()
        for _ in range(slots):
            self._idle.put_nowait(None)

    @property
    def idle(self) -> bool:
        """Whether one is free at the moment."""
        return not self._idle.empty()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Helper]:
        """A living engine; whatever happens to it meanwhile, its slot becomes free again."""
        engine = await self._idle.get()
        try:
            if engine is None or not engine.alive:
                engine = None
                engine = await self._start()
            yield engine
        finally:
            self._idle.put_nowait(engine)

    async def close(self) -> None:
        """End every idle engine: for an orderly stop, after the works have ended."""
        for _ in range(self._idle.qsize()):
            engine = self._idle.get_nowait()
            if engine is not None:
                await engine.kill()
            self._idle.put_nowait(None)


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


def engine_settings(config: SeparatorConfig, environ: Mapping[str, str]) -> EngineSettings:
    """What an engine is told."""
    return EngineSettings(
        blobs_url=config.blobs_url,
        models_dir=config.models_dir and str(Path(config.models_dir).expanduser().resolve()),
        hub_cache=str(hub_cache(environ)),
        torch_hub=str(torch_hub(environ)),
        fetch_weights=config.fetch_weights and environ.get("HF_HUB_OFFLINE", "0") in {"", "0"},
        device=config.device,
        torch_threads=config.torch_threads,
        batch_windows=config.batch_windows,
        windows_per_chunk=config.windows_per_chunk,
        models_kept=config.models_kept,
    )


def engine_starter(
    config: SeparatorConfig, environ: Mapping[str, str], log: Log
) -> Callable[[], Awaitable[Child[EngineRequest, EngineReport]]]:
    """A function that starts an engine child; ``log`` gets the lines that it prints."""
    environment = {
        **child_environment(environ),
        ENGINE_VARIABLE: encode(engine_settings(config, environ)).decode(),
        # hub downloads over plain HTTP: one progress bar for each file, and no second cache.
        "HF_HUB_DISABLE_XET": "1",
    }
    folder = Path(config.scratch_dir) / "separator"
    reports: Decoder[EngineReport] = Decoder(EngineReport)

    async def start() -> Child[EngineRequest, EngineReport]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return await Child.start(
                ENGINE_MODULE,
                reports=reports,
                cwd=folder,
                on_line=log,
                limits=Limits(memory_bytes=config.engine_memory_bytes),
                environment=environment,
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
