"""Chunks separated in this process, by the real code, one step at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from services.separator.batchsize import SizeBook
from services.separator.core import chunk_frames, passes_of, resolve_stems
from services.separator.gather import Gathering
from services.separator.runner import Runner, Ticket
from services.separator.windows import ChunkWindows
from shared.contracts.audio import FRAME_BYTES, Plan, Precision, Track
from shared.separation.spans import header_of, pack_span
from shared.separation.windows import stride_frames
from tests.support.audio import Audio, interleaved, stored_track, track_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.separator.messages import EngineReport
    from services.separator.models import LoadedModel
    from shared.blobs import BlockingBlobs

R = TypeVar("R")

CPU = torch.device("cpu")


def plan_for(
    model: LoadedModel,
    frames: int,
    per_chunk: int,
    *stems: str,
    shifts: int = 0,
    precision: Precision = Precision.EXACT,
) -> Plan:
    """How the engine would cut a track of ``frames`` into chunks of ``per_chunk`` windows."""
    resolved = resolve_stems(stems, model.sources, model.name)
    passes = passes_of(model.segments, model.needed(resolved.computed), shifts)
    longest = max(stride_frames(one.segment) for one in passes)
    return Plan(
        model=model.name,
        digest=model.digest,
        sources=model.sources,
        computed=resolved.computed,
        stems=resolved.stems,
        frames=frames,
        passes=passes,
        chunk_frames=per_chunk * longest if shifts else chunk_frames(passes, per_chunk),
        precision=precision,
        shifts=shifts,
    )


def runner(
    device: torch.device = CPU,
    batch: int = 1,
    book: Path = Path("no-such/book"),
    clock: Callable[[], float] = time.monotonic,
) -> Runner:
    """A runner whose steps the test takes; ``batch`` 0 measures it."""
    sizes = SizeBook(book, str(device))
    return Runner(device=device, batch_windows=batch, book=sizes, clock=clock)


class Eager(Runner):
    """A runner for a single thread: who submits a ticket finds it done."""

    def submit(self, ticket: Ticket) -> None:
        """Get in line, and be the one who computes."""
        super().submit(ticket)
        run_all(self)


def run_all(one: Runner) -> int:
    """Take steps until there is nothing left to do; how many that were."""
    steps = 0
    while one.step():
        steps += 1
    return steps


class Said:
    """What a request reported; stands in for a child's way to its parent."""

    def __init__(self) -> None:
        self.called_off = threading.Event()
        self.reports: list[EngineReport] = []

    def __call__(self, report: EngineReport) -> None:
        """Remember it."""
        self.reports.append(report)

    def last(self, kind: type[R]) -> R:
        """The one report of a kind."""
        (only,) = (one for one in self.reports if isinstance(one, kind))
        return only


class Separated(NamedTuple):
    """One chunk's way through a model."""

    ticket: Ticket
    windows: ChunkWindows
    sums: NDArray[np.float32]


def opened(
    model: LoadedModel, plan: Plan, audio: Audio, chunk: int, device: torch.device = CPU
) -> tuple[ChunkWindows, Ticket]:
    """A chunk's windows and their ticket, not submitted yet."""
    data = interleaved(audio)
    windows = ChunkWindows(
        model=model,
        plan=plan,
        track=track_of(audio),
        chunk=chunk,
        read=lambda start, end: data[start * FRAME_BYTES : end * FRAME_BYTES],
    )
    return windows, Ticket(model, windows.runs, device)


def finished(windows: ChunkWindows, ticket: Ticket) -> Separated:
    """What came of a chunk whose windows have all been run."""
    for outcome in ticket.outcomes(lambda: False):
        windows.add(outcome.run, outcome.output)
    return Separated(ticket, windows, windows.sums())


def separate(
    model: LoadedModel,
    plan: Plan,
    audio: Audio,
    chunk: int = 0,
    *,
    device: torch.device = CPU,
    batch: int = 1,
) -> Separated:
    """One chunk, alone on its device."""
    windows, ticket = opened(model, plan, audio, chunk, device)
    alone = runner(device, batch)
    alone.submit(ticket)
    run_all(alone)
    return finished(windows, ticket)


def scattered(
    model: LoadedModel,
    plan: Plan,
    audio: Audio,
    blobs: BlockingBlobs,
    *,
    batch: int = 1,
    order: Iterable[int] | None = None,
) -> tuple[Track, tuple[str, ...]]:
    """Chunks in the blob store, in any order, some perhaps twice; the last one first."""
    track = stored_track(blobs, audio)
    keys = tuple(f"work/j/1/chunk-{n}" for n in range(plan.chunks))
    for chunk in order if order is not None else reversed(range(plan.chunks)):
        made = separate(model, plan, audio, chunk, batch=batch)
        blobs.put(keys[chunk], pack_span(header_of(plan, chunk), made.sums, made.windows.heard))
    return track, keys


def gathered(
    model: LoadedModel,
    plan: Plan,
    audio: Audio,
    blobs: BlockingBlobs,
    **how: Any,  # noqa: ANN401 - see scattered
) -> dict[str, Audio]:
    """The stems of a track, scattered and put together again, (frames, 2) each."""
    track, keys = scattered(model, plan, audio, blobs, **how)
    gathering = Gathering(blobs=blobs, track=track, plan=plan, chunk_keys=keys)
    blocks = list(gathering.blocks())
    return {stem: np.concatenate([one.stems[stem] for one in blocks]) for stem in plan.stems}
