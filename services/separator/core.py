"""The arithmetic of separation without the audio: windows, chunks, stems and names.  Pure.

It is ``demucs.apply.apply_model(shifts=0, overlap=0.25, transition_power=1)``, taken apart so
that any worker can do any chunk.  All positions are frames of the track.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from shared.contracts.audio import (
    INSTRUMENTAL,
    SAMPLE_RATE,
    VOCALS,
    AudioFormat,
    Metadata,
    Plan,
    Track,
)
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from numpy.typing import NDArray

#: Share of a window that it has in common with the next: apply_model's default.
OVERLAP: Final = 0.25
#: Longest chunk in seconds, whatever the window's length: bounds a worker's memory (a model
#: with 44 s windows gets fewer of them in a chunk).
CHUNK_SECONDS: Final = 120.0
#: Added to the standard deviation before dividing by it: as in demucs.api.Separator.
EPSILON: Final = 1e-8
#: Part of every result's id: raise it when the same parameters begin to give other files.
RESULT_VERSION: Final = 1


class Span(NamedTuple):
    """Frames ``start`` up to ``end``."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        """Its length."""
        return self.end - self.start


def window_frames(seconds: float | Fraction, samplerate: int = SAMPLE_RATE) -> int:
    """A window's length, rounded as apply_model rounds it; htdemucs's is a fraction, 39/5 s."""
    return int(samplerate * seconds)


def stride_frames(segment: int) -> int:
    """The distance between two windows' starts, rounded as apply_model rounds it."""
    return int((1 - OVERLAP) * segment)


def windows_of(plan: Plan, chunk: int) -> range:
    """The windows of a chunk; the last chunk may have fewer."""
    first = chunk * plan.windows_per_chunk
    return range(first, min(first + plan.windows_per_chunk, plan.windows))


def window_span(plan: Plan, window: int) -> Span:
    """What a window covers: ``segment`` frames, or fewer where the track ends."""
    start = window * plan.stride
    return Span(start, min(start + plan.segment, plan.frames))


def input_span(plan: Plan, window: int, valid_frames: int) -> Span:
    """What the model is given for a window: ``valid_frames`` around it, as ``TensorChunk.padded``.

    What lies outside the track (a negative start, an end beyond it) is zeros.
    """
    span = window_span(plan, window)
    start = span.start - (valid_frames - span.frames) // 2
    return Span(start, start + valid_frames)


def read_span(plan: Plan, chunk: int, valid_length: Callable[[int], int]) -> Span:
    """The audio that a chunk's windows need.

    ``valid_length`` maps a window's length to the length that the model wants to be given.
    """
    inputs = [
        input_span(plan, window, valid_length(window_span(plan, window).frames))
        for window in windows_of(plan, chunk)
    ]
    start = min(span.start for span in inputs)
    end = max(span.end for span in inputs)
    return Span(max(0, start), min(plan.frames, end))


def output_span(plan: Plan, chunk: int) -> Span:
    """What a chunk's weighted sum covers; it overlaps the next chunk's."""
    windows = windows_of(plan, chunk)
    return Span(window_span(plan, windows[0]).start, window_span(plan, windows[-1]).end)


def triangle(segment: int) -> NDArray[np.float32]:
    """The weight of each frame of a window, (segment,), 1.0 in the middle: apply_model's."""
    half = segment // 2
    ramp = np.concatenate((np.arange(1, half + 1), np.arange(segment - half, 0, -1)))
    return np.asarray(ramp / ramp.max(), np.float32)


def chunk_weight(plan: Plan, chunk: int) -> NDArray[np.float32]:
    """The sum of a chunk's window weights over its output span, (frames,).

    Added up over all chunks this is the total weight, which is positive everywhere.
    """
    whole = output_span(plan, chunk)
    weight = triangle(plan.segment)
    total = np.zeros(whole.frames, np.float32)
    for window in windows_of(plan, chunk):
        span = window_span(plan, window)
        total[span.start - whole.start : span.end - whole.start] += weight[: span.frames]
    return total


def chunk_advance(plan: Plan, chunk: int) -> float:
    """Seconds of the track that a chunk moves the job on by; they add up to its length."""
    start = output_span(plan, chunk).start
    following = (chunk + 1) * plan.windows_per_chunk * plan.stride
    return (min(following, plan.frames) - start) / SAMPLE_RATE


def normalization(track: Track) -> tuple[float, float]:
    """(mean, scale) of the track: the model sees ``(audio - mean) / scale``.

    A track too short to have a deviation has none: it counts as 0, as silence does.
    """
    mean = track.mean if math.isfinite(track.mean) else 0.0
    std = track.std if math.isfinite(track.std) else 0.0
    return mean, std + EPSILON


def offered_stems(sources: tuple[str, ...]) -> tuple[str, ...]:
    """The stems that a model with these sources can deliver."""
    if VOCALS in sources and INSTRUMENTAL not in sources:
        return (*sources, INSTRUMENTAL)
    return sources


class Stems(NamedTuple):
    """What a job delivers, and which of the model's sources must be computed for it."""

    stems: tuple[str, ...]
    computed: tuple[str, ...]


def resolve_stems(wanted: tuple[str, ...], sources: tuple[str, ...], model: str) -> Stems:
    """What ``wanted`` means for a model; none means all that it offers.

    Where there are vocals, ``instrumental`` is always mix - vocals and never computed, so that
    the two add up to the original.  ``model.no_such_stem`` if the model lacks one of them.
    """
    offered = offered_stems(sources)
    stems = tuple(dict.fromkeys(wanted)) or offered
    if unknown := [stem for stem in stems if stem not in offered]:
        detail = f"{model} has no {', '.join(unknown)}; it makes {', '.join(offered)}"
        raise TerminalError(Code.MODEL_NO_SUCH_STEM, detail)
    needed = {source_of(stem, sources) for stem in stems}
    return Stems(stems, tuple(source for source in sources if source in needed))


def source_of(stem: str, sources: tuple[str, ...]) -> str:
    """The model's source that a stem is made from."""
    return VOCALS if stem == INSTRUMENTAL and VOCALS in sources else stem


def is_derived(stem: str, plan: Plan) -> bool:
    """Whether a stem is what is left of the mix without its source."""
    return source_of(stem, plan.sources) != stem


def windows_for_chunk(stride: int, most: int) -> int:
    """How many windows a chunk gets: ``most``, fewer where that would exceed CHUNK_SECONDS."""
    return max(1, min(most, int(CHUNK_SECONDS * SAMPLE_RATE / stride)))


def result_id(
    track: Track, plan: Plan, audio_format: AudioFormat, metadata: Metadata | None = None
) -> str:
    """The id of a result: the same track, model, stems, format and tags give the same one."""
    tags = metadata or Metadata()
    stems = ",".join(plan.stems)
    parts = (
        RESULT_VERSION,
        track.id,
        plan.digest,
        stems,
        audio_format.value,
        tags.title,
        tags.artist,
    )
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:32]
