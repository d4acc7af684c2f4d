"""Where the separator's objects meet."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from msgspec.structs import replace

from services.separator.actor import Separator
from services.separator.catalogue import Catalogue
from services.separator.children import encode_starter, engine_settings, engine_starter
from services.separator.engines import Engines
from services.separator.finalizer import Finalizer
from services.separator.hardware import this_machine
from services.separator.layout import seats
from shared.actor.stopping import unless_stopped
from shared.blobs import BlobStore, open_store
from shared.contracts.work import (
    FinalizeWork,
    PrepareWork,
    RemoveWork,
    SeparateWork,
    Stage,
    SweepWork,
)
from shared.crew import hire
from shared.errors import StembusError
from shared.scratch import ScratchSweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AsyncExitStack

    from services.separator.config import SeparatorConfig
    from shared.contracts.live import Beat, ModelOffer
    from shared.service import Part, Resources


class ModelWatch:
    """Keeps what the heartbeat offers up to date with the model folders, as a part."""

    def __init__(self, separator: Separator, catalogue: Catalogue, seconds: float) -> None:
        self._separator = separator
        self._catalogue = catalogue
        self._seconds = seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        pause = partial(asyncio.sleep, self._seconds)
        await unless_stopped(stopping, self._separator.watch_models(self._catalogue.offers, pause))


def offers_of(catalogue: Catalogue, log: Callable[[str], None]) -> tuple[ModelOffer, ...]:
    """What can be offered before an engine has looked; nothing where a folder can't be read."""
    try:
        return tuple(catalogue.offers().values())
    except (StembusError, OSError) as exc:
        log(f"the models can't be looked up: {exc}")
        return ()


async def assemble(
    config: SeparatorConfig, resources: Resources, stack: AsyncExitStack
) -> Sequence[Part]:
    """The separator's parts: chunks, finalization, and what models there are."""
    log = resources.log
    scratch = Path(config.scratch_dir)
    scratch.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing is served yet

    def on_line(line: str) -> None:
        log.info("child says", line=line)

    places = seats(config, this_machine(os.environ))
    settings = engine_settings(config, os.environ, places[0])
    catalogue = Catalogue(
        models_dir=Path(settings.models_dir) if settings.models_dir else None,
        hub_cache=Path(settings.hub_cache),
        torch_hub=Path(settings.torch_hub),
    )
    engines = Engines(start=engine_starter(config, os.environ, on_line), seats=places, log=on_line)
    stack.push_async_callback(engines.close)
    engines.wake()
    separator = Separator(
        engines=engines,
        silence=config.engine_silence_seconds,
        clock=monotonic,
        log=on_line,
        offers=offers_of(catalogue, on_line),
    )
    finalizer = Finalizer(
        start=encode_starter(config, os.environ, on_line),
        blobs=BlobStore(open_store(config.blobs_url)),
        scratch=scratch,
        silence=config.encode_silence_seconds,
        clock=monotonic,
    )

    def about(beat: Beat) -> Beat:
        return replace(
            beat, device=separator.device, speeds=separator.speeds, models=separator.offers()
        )

    chunks = await hire(
        resources,
        stack,
        stage=Stage.SEPARATE,
        kind=PrepareWork | SeparateWork,
        performer=separator,
        slots=engines.lanes,
        grace=config.grace_seconds,
        about=about,
    )
    results = await hire(
        resources,
        stack,
        stage=Stage.FINALIZE,
        kind=FinalizeWork | SweepWork | RemoveWork,
        performer=finalizer,
        slots=config.finalize_slots,
        grace=config.grace_seconds,
    )
    watch = ModelWatch(separator, catalogue, config.models_scan_seconds)
    return [*chunks, *results, watch, ScratchSweeper(scratch, log)]
