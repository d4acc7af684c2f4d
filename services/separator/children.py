"""The separator's children: how they are started and listened to."""

from __future__ import annotations

from contextlib import aclosing
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
from shared.child import PATIENCE_SECONDS, Child, Limits
from shared.contracts.codec import Decoder, encode
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from services.separator.layout import Seat
    from shared.actor.worker import Report
    from shared.contracts.live import Activity

    Log = Callable[[str], None]

ENGINE_MODULE: Final = "services.separator.engine"
ENCODE_MODULE: Final = "services.separator.encode"
#: glibc hands large blocks back to the kernel when they are freed and gets zeroed pages for the
#: next ones: in a network layer by layer, up to a tenth of a window's time.  An engine keeps them
#: (as much as one window takes), in one heap, so that no thread keeps some of its own; they are
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
