"""Which frames a window, a chunk, a piece covers, and with what weight.  Pure.

It is ``demucs.apply.apply_model(overlap=0.25, transition_power=1)``, taken apart so that any
worker can do any chunk.  All positions are frames of the track.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from shared.contracts.audio import INSTRUMENTAL, SAMPLE_RATE, VOCALS, Pass, Plan, Track

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

#: Share of a window that it has in common with the next: apply_model's default.
OVERLAP: Final = 0.25
#: Added to the standard deviation before dividing by it: as in demucs.api.Separator.
EPSILON: Final = 1e-8


class Span(NamedTuple):
    """Frames ``start`` up to ``end``."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        """Its length."""
        return self.end - self.start

    def common(self, other: Span) -> Span:
        """What both cover; empty where they have nothing in common."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))


def window_frames(seconds: float | Fraction, samplerate: int = SAMPLE_RATE) -> int:
    """A window's length, rounded as apply_model rounds it; htdemucs's is a fraction, 39/5 s."""
    return int(samplerate * seconds)


def stride_frames(segment: int) -> int:
    """The distance between two windows' starts, rounded as apply_model rounds it."""
    return int((1 - OVERLAP) * segment)


def windows_of(plan: Plan, chunk: int, one: Pass) -> range:
    """The windows of a pass that belong to a chunk.

    A shifted pass whose windows are very short has some that end before the track begins: they
    belong to none.
    """
    first = -((one.start - chunk * plan.chunk_frames) // one.stride)
    if chunk == 0:
        first = max(0, (-one.start - one.segment) // one.stride + 1)
    end = -((one.start - (chunk + 1) * plan.chunk_frames) // one.stride)
    count = one.windows(plan.frames)
    return range(min(first, count), min(end, count))


def window_span(plan: Plan, one: Pass, window: int) -> Span:
    """What a window covers: ``segment`` frames, or fewer where the track ends.

    A shifted pass begins before the track: there a window covers silence.
    """
    start = one.start + window * one.stride
    return Span(start, min(start + one.segment, plan.frames))


def input_span(plan: Plan, one: Pass, window: int, valid_frames: int) -> Span:
    """What the model is given for a window: ``valid_frames`` around it, as ``TensorChunk.padded``.

    What lies outside the track (a negative start, an end beyond it) is zeros.
    """
    span = window_span(plan, one, window)
    start = span.start - (valid_frames - span.frames) // 2
    return Span(start, start + valid_frames)


def output_span(plan: Plan, chunk: int) -> Span:
    """The frames to which a chunk contributes; it overlaps the next chunk's."""
    covered = [
        span
        for one in plan.passes
        if (windows := windows_of(plan, chunk, one))
        for span in (window_span(plan, one, windows[0]), window_span(plan, one, windows[-1]))
    ]
    return Span(max(0, min(one.start for one in covered)), max(one.end for one in covered))


def piece_span(plan: Plan, chunk: int) -> Span:
    """The frames that are complete with this chunk, once all before it are done, too.

    The pieces of all chunks add up to the track.
    """
    start = chunk * plan.chunk_frames
    last = chunk == plan.chunks - 1
    return Span(start, plan.frames if last else start + plan.chunk_frames)


def chunks_over(plan: Plan, span: Span) -> tuple[int, ...]:
    """The chunks that contribute to some frame of ``span``, in order."""
    last = min(plan.chunks - 1, max(0, span.end - 1) // plan.chunk_frames)
    longest = max(one.segment for one in plan.passes)
    first = max(0, (span.start - longest) // plan.chunk_frames)
    return tuple(
        chunk
        for chunk in range(min(first, last), last + 1)
        if output_span(plan, chunk).common(span).frames
    )


def triangle(segment: int) -> NDArray[np.float32]:
    """The weight of each frame of a window, (segment,), 1.0 in the middle: apply_model's."""
    half = segment // 2
    ramp = np.concatenate((np.arange(1, half + 1), np.arange(segment - half, 0, -1)))
    return np.asarray(ramp / ramp.max(), np.float32)


def pass_weight(plan: Plan, one: Pass, span: Span) -> NDArray[np.float32]:
    """The sum of the weights of all windows of a pass over ``span``, (frames,); never 0."""
    weight = triangle(one.segment)
    total = np.zeros(span.frames, np.float32)
    first = max(0, (span.start - one.start - one.segment) // one.stride)
    for window in range(first, one.windows(plan.frames)):
        covered = window_span(plan, one, window)
        if covered.start >= span.end:
            break
        common = covered.common(span)
        total[common.start - span.start : common.end - span.start] += weight[
            common.start - covered.start : common.end - covered.start
        ]
    return total


def chunk_advance(plan: Plan, chunk: int) -> float:
    """Seconds of the track that a chunk moves the job on by; they add up to its length."""
    return piece_span(plan, chunk).frames / SAMPLE_RATE


def normalization(track: Track) -> tuple[float, float]:
    """(mean, scale) of the track: the model sees ``(audio - mean) / scale``.

    A track too short to have a deviation has none: it counts as 0, as silence does.
    """
    mean = track.mean if math.isfinite(track.mean) else 0.0
    std = track.std if math.isfinite(track.std) else 0.0
    return mean, std + EPSILON


def source_of(stem: str, sources: tuple[str, ...]) -> str:
    """The model's source that a stem is made from."""
    return VOCALS if stem == INSTRUMENTAL and VOCALS in sources else stem


def is_derived(stem: str, plan: Plan) -> bool:
    """Whether a stem is what is left of the mix without its source."""
    return source_of(stem, plan.sources) != stem
