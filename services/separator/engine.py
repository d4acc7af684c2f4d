"""The engine: a long-lived child process that keeps models warm and separates chunks.

Run as ``python -m services.separator.engine`` by ``shared.child``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import torch

from services.separator.batchsize import SizeBook
from services.separator.catalogue import Catalogue
from services.separator.chunks import is_stored
from services.separator.core import chunk_frames, offered_stems, passes_of, resolve_stems
from services.separator.devices import choose_device, device_name
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
    WarmedUp,
    WarmUp,
)
from services.separator.models import LoadedModel, ModelShelf
from services.separator.precision import resolve
from services.separator.runner import Runner, Ticket
from services.separator.tracks import whole_track
from services.separator.weights import Weights
from services.separator.windows import ChunkWindows
from shared.blobs import BlockingBlobs, open_store
from shared.child_main import serve
from shared.contracts.audio import FRAME_BYTES, Plan, Precision
from shared.contracts.live import Activity, ModelOffer
from shared.contracts.models import AUTO, AUTO_CANDIDATES, DSP
from shared.contracts.request import Options
from shared.errors import Code, RetryableError, StembusError, TerminalError
from shared.separation.spans import header_of, pack_span
from shared.separation.windows import chunk_advance

if TYPE_CHECKING:
    import threading


class Report(Protocol):
    """Takes what a request has to say (``shared.child_main.Reporter``)."""

    #: Set when nobody waits for the request any more; then a call raises.
    called_off: threading.Event

    def __call__(self, message: EngineReport, /) -> None:
        """Say it."""


class Engine:
    """Answers the service's requests, in as many threads as it has lanes."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        weights: Weights,
        shelf: ModelShelf,
        blobs: BlockingBlobs,
        runner: Runner,
        device: torch.device,
        settings: EngineSettings,
    ) -> None:
        self._catalogue = catalogue
        self._weights = weights
        self._shelf = shelf
        self._blobs = blobs
        self._device = device
        self._runner = runner
        self._settings = settings

    def handle(self, request: EngineRequest, report: Report) -> None:
        """Do what ``request`` asks and report it."""
        match request:
            case DescribeModels():
                report(ModelsDescribed(models=self._describe(), device=str(self._device)))
            case PrepareTrack():
                report(TrackPrepared(plan=self._prepare(request, report), device=str(self._device)))
            case WarmUp():
                report(WarmedUp(models=self._warm(request, report)))
            case SeparateChunk():
                report(self._separate(request, report))

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
                ModelOffer(
                    name=name,
                    sources=sources,
                    ready=found.ready,
                    origin=found.origin,
                    digest=self._shelf.digest_of(found),
                )
            )
        return tuple(offers)

    def _prepare(self, request: PrepareTrack, report: Report) -> Plan:
        if request.track.frames < 1:
            raise TerminalError(Code.SOURCE_EMPTY, request.track.id)
        model = self._shelf.get(self._choose(request.options), report)
        options = request.options
        stems, computed = resolve_stems(options.stems, model.sources, model.name)
        passes = passes_of(model.segments, model.needed(computed), options.shifts)
        return Plan(
            model=model.name,
            digest=model.digest,
            sources=model.sources,
            computed=computed,
            stems=stems,
            frames=request.track.frames,
            passes=passes,
            chunk_frames=chunk_frames(passes, self._settings.windows_per_chunk),
            precision=self._precision(options, model.name),
            shifts=options.shifts,
        )

    def _precision(self, options: Options, model: str) -> Precision:
        if model == DSP:  # what its masks decide by does not bear rounding
            return Precision.EXACT
        return resolve(options.precision, self._settings.precision, self._device)

    def _warm(self, request: WarmUp, report: Report) -> tuple[str, ...]:
        for name in request.models:
            try:
                self._shelf.get(name, report)
            except StembusError as exc:
                print(f"{name} is not loaded: {exc}", flush=True)  # noqa: T201 - a child's log is its output
        return self._shelf.names

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

    def _separate(self, request: SeparateChunk, report: Report) -> ChunkStored:
        """Store what the chunk contributes, unless it is there."""
        plan, chunk = request.plan, request.chunk
        header, seconds = header_of(plan, chunk), chunk_advance(plan, chunk)
        if is_stored(self._blobs, request.key, header):
            return ChunkStored(seconds=seconds, device=str(self._device), found=True)
        model = self._shelf.get(plan.model, report)
        _same_model(model, plan)
        key = whole_track(self._blobs, request.track)
        report(Progressed(activity=Activity.SEPARATING, fraction=0.0))
        windows = ChunkWindows(
            model=model,
            plan=plan,
            track=request.track,
            chunk=chunk,
            read=lambda start, end: self._blobs.get_range(
                key, start * FRAME_BYTES, end * FRAME_BYTES
            ),
        )
        ticket = Ticket(model, windows.runs, self._device)
        self._runner.submit(ticket)
        done, seen = 0, self._runner.batches

        def told() -> None:
            report(Progressed(activity=Activity.SEPARATING, fraction=done / len(windows.runs)))

        def waits() -> None:
            # While others are computed it says that it lives; if nobody is, nobody says so.
            nonlocal seen
            if seen != self._runner.batches:
                seen = self._runner.batches
                told()

        try:
            for outcome in ticket.outcomes(report.called_off.is_set, waits):
                windows.add(outcome.run, outcome.output)
                done += 1
                told()
        finally:
            ticket.leave()
        # Raises where it was called off: then not all windows have come.
        report(Progressed(activity=Activity.SEPARATING, fraction=1.0))
        self._blobs.put(
            request.key, pack_span(header, windows.sums(), windows.heard), lasting=False
        )
        # Where it was computed at the end, at least.
        return ChunkStored(seconds=seconds, device=str(ticket.device))


def _same_model(model: LoadedModel, plan: Plan) -> None:
    if (model.digest, model.sources) != (plan.digest, plan.sources):
        detail = f"{plan.model} is {model.digest[:8]} here and was {plan.digest[:8]} in the plan"
        raise RetryableError(Code.MODEL_CHANGED, detail)


def build_engine(settings: EngineSettings) -> tuple[Engine, Runner]:
    """The engine with everything it needs, and its thread that computes."""
    device = choose_device(settings.device, settings.number)
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    # Torch's own shortcut for transformer layers multiplies whole attention matrices; without it
    # they are never stored, which is a little faster (tests.benchmarks.separation --profile).
    torch.backends.mha.set_fastpath_enabled(value=False)
    catalogue = Catalogue(
        models_dir=Path(settings.models_dir) if settings.models_dir else None,
        hub_cache=Path(settings.hub_cache),
        torch_hub=Path(settings.torch_hub),
    )
    weights = Weights(catalogue=catalogue, allowed=settings.fetch_weights, clock=time.monotonic)
    shelf = ModelShelf(
        catalogue=catalogue, weights=weights, device=device, budget=settings.models_memory_bytes
    )
    runner = Runner(
        device=device,
        batch_windows=settings.batch_windows,
        book=SizeBook(Path(settings.sizes_path), device_name(device)),
        clock=time.monotonic,
    )
    engine = Engine(
        catalogue=catalogue,
        weights=weights,
        shelf=shelf,
        blobs=BlockingBlobs(open_store(settings.blobs_url)),
        runner=runner,
        device=device,
        settings=settings,
    )
    return engine, runner


def main() -> None:
    """Serve the parent until it is gone."""
    settings = msgspec.json.decode(os.environ[ENGINE_VARIABLE], type=EngineSettings)
    engine, runner = build_engine(settings)
    serve(EngineRequest, engine.handle, lanes=settings.lanes, main=runner.loop)


if __name__ == "__main__":
    main()
