"""The engine: a long-lived child process that keeps models warm and separates chunks.

Run as ``python -m services.separator.engine`` by ``shared.child``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch

from services.separator.catalogue import Catalogue
from services.separator.core import (
    chunk_advance,
    offered_stems,
    output_span,
    resolve_stems,
    windows_for_chunk,
)
from services.separator.devices import choose_device
from services.separator.inference import ChunkRun
from services.separator.messages import (
    ENGINE_VARIABLE,
    ChunkStored,
    DescribeModels,
    EngineReport,
    EngineRequest,
    EngineSettings,
    ModelsDescribed,
    PrepareTrack,
    Progressed,
    SeparateChunk,
    TrackPrepared,
)
from services.separator.models import LoadedModel, ModelShelf
from services.separator.spans import SpanHeader, pack_span
from services.separator.weights import Weights
from shared.blobs import BlockingBlobs, open_store, track_audio_key
from shared.child_main import serve
from shared.contracts.audio import FRAME_BYTES, Plan
from shared.contracts.live import Activity, ModelOffer
from shared.contracts.models import AUTO, AUTO_CANDIDATES
from shared.contracts.request import Options
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[EngineReport], None]


class Engine:
    """Answers the service's requests, one at a time."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        weights: Weights,
        shelf: ModelShelf,
        blobs: BlockingBlobs,
        device: torch.device,
        settings: EngineSettings,
    ) -> None:
        self._catalogue = catalogue
        self._weights = weights
        self._shelf = shelf
        self._blobs = blobs
        self._device = device
        self._settings = settings
        self._batch_windows = settings.batch_windows

    def handle(self, request: EngineRequest, report: Report) -> None:
        """Do what ``request`` asks and report it."""
        match request:
            case DescribeModels():
                report(ModelsDescribed(models=self._describe(), device=str(self._device)))
            case PrepareTrack():
                report(TrackPrepared(plan=self._prepare(request, report), device=str(self._device)))
            case SeparateChunk():
                device = self._separate(request, report)
                seconds = chunk_advance(request.plan, request.chunk)
                report(ChunkStored(seconds=seconds, device=str(device)))

    def _describe(self) -> tuple[ModelOffer, ...]:
        offers: list[ModelOffer] = []
        for name in self._catalogue.names():
            try:
                found = self._catalogue.find(name)
                sources = self._shelf.sources_of(found)
            except StembusError as exc:
                # One broken file must not hide the other models.
                print(f"the model {name} is left out: {exc}", flush=True)  # noqa: T201 - a child's log is its output
                continue
            offers.append(
                ModelOffer(name=name, sources=sources, ready=found.ready, origin=found.origin)
            )
        return tuple(offers)

    def _prepare(self, request: PrepareTrack, report: Report) -> Plan:
        if request.track.frames < 1:
            raise TerminalError(Code.SOURCE_EMPTY, request.track.id)
        model = self._shelf.get(self._choose(request.options), report)
        stems, computed = resolve_stems(request.options.stems, model.sources, model.name)
        return Plan(
            model=model.name,
            digest=model.digest,
            sources=model.sources,
            computed=computed,
            stems=stems,
            frames=request.track.frames,
            segment=model.segment,
            stride=model.stride,
            windows_per_chunk=windows_for_chunk(model.stride, self._settings.windows_per_chunk),
        )

    def _choose(self, options: Options) -> str:
        """The model's name; ``auto`` is the first with the stems whose weights can be had."""
        if options.model != AUTO:
            # Before minutes of downloading: does it have what is asked for?
            found = self._catalogue.find(options.model)
            resolve_stems(options.stems, self._shelf.sources_of(found), options.model)
            return options.model
        offered: dict[str, None] = {}
        unavailable: list[str] = []
        for name in AUTO_CANDIDATES:
            found = self._catalogue.find(name)
            stems = offered_stems(self._shelf.sources_of(found))
            offered.update(dict.fromkeys(stems))
            if not set(options.stems) <= set(stems):
                continue
            if found.ready or self._weights.fetchable(found):
                return name
            unavailable.append(name)
        if unavailable:
            detail = f"{' and '.join(unavailable)} would make {', '.join(options.stems)}"
            raise RetryableError(Code.MODEL_WEIGHTS_UNAVAILABLE, detail)
        detail = f"no model makes {', '.join(options.stems)}; there are {', '.join(offered)}"
        raise TerminalError(Code.MODEL_NO_SUCH_STEM, detail)

    def _separate(self, request: SeparateChunk, report: Report) -> torch.device:
        """Store the chunk's sums; where they were computed, at the end at least."""
        plan, chunk = request.plan, request.chunk
        model = self._shelf.get(plan.model, report)
        _same_model(model, plan)
        key = track_audio_key(request.track.id)
        # A chunk that ran out of memory has taught this engine its batch size.
        run = ChunkRun(
            model=model,
            plan=plan,
            track=request.track,
            device=self._device,
            batch=self._batch_windows,
        )
        report(Progressed(activity=Activity.SEPARATING, fraction=0.0))
        sums = run.weighted_sums(
            chunk,
            lambda start, end: self._blobs.get_range(key, start * FRAME_BYTES, end * FRAME_BYTES),
            lambda done: report(Progressed(activity=Activity.SEPARATING, fraction=done)),
        )
        self._batch_windows = run.batch_windows
        span = output_span(plan, chunk)
        header = SpanHeader(
            digest=plan.digest, sources=plan.computed, start=span.start, frames=span.frames
        )
        self._blobs.put(request.key, pack_span(header, sums))
        return run.device


def _same_model(model: LoadedModel, plan: Plan) -> None:
    ours = (model.digest, model.sources, model.segment, model.stride)
    if ours != (plan.digest, plan.sources, plan.segment, plan.stride):
        detail = f"{plan.model} is {model.digest[:8]} here and was {plan.digest[:8]} in the plan"
        raise RetryableError(Code.MODEL_CHANGED, detail)


def build_engine(settings: EngineSettings) -> Engine:
    """The engine with everything it needs."""
    device = choose_device(settings.device)
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    catalogue = Catalogue(
        models_dir=Path(settings.models_dir) if settings.models_dir else None,
        hub_cache=Path(settings.hub_cache),
        torch_hub=Path(settings.torch_hub),
    )
    weights = Weights(catalogue=catalogue, allowed=settings.fetch_weights, clock=time.monotonic)
    shelf = ModelShelf(
        catalogue=catalogue, weights=weights, device=device, keep=settings.models_kept
    )
    batch = settings.batch_windows or (1 if device.type == "cpu" else 8)
    return Engine(
        catalogue=catalogue,
        weights=weights,
        shelf=shelf,
        blobs=BlockingBlobs(open_store(settings.blobs_url)),
        device=device,
        settings=msgspec.structs.replace(settings, batch_windows=batch),
    )


def main() -> None:
    """Serve the parent until it is gone."""
    settings = msgspec.json.decode(os.environ[ENGINE_VARIABLE], type=EngineSettings)
    serve(EngineRequest, build_engine(settings).handle)


if __name__ == "__main__":
    main()
