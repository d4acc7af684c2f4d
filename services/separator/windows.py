"""One chunk's windows: what each is given, and where what comes of it is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from services.separator.batching import Kind
from shared.contracts.audio import CHANNELS, FRAME_BYTES, Pass, Plan, Track
from shared.errors import Code, TerminalError
from shared.separation.spans import heard_in
from shared.separation.windows import (
    Span,
    input_span,
    normalization,
    output_span,
    pass_weight,
    triangle,
    window_span,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from services.separator.models import LoadedModel

    Samples = NDArray[np.float32]
    #: Reads frames of the track: interleaved float32.
    ReadFrames = Callable[[int, int], bytes]


class Run(NamedTuple):
    """One window through one network."""

    one: Pass
    window: int
    kind: Kind
    #: What the network is given, (channels, frames); must not be written to.
    given: Samples
    #: Its one sample of each channel, if it holds nothing else: silence.
    silence: bytes | None


class ChunkWindows:
    """The windows of one chunk, in the order in which they are run and added up.

    That order is always the same, whatever they are batched with: so are the sums, to the bit,
    for batches of the same sizes.
    """

    def __init__(
        self, *, model: LoadedModel, plan: Plan, track: Track, chunk: int, read: ReadFrames
    ) -> None:
        self._model = model
        self._plan = plan
        self._span = output_span(plan, chunk)
        #: Places of the computed sources in the model's output.
        self._indices = [model.sources.index(source) for source in plan.computed]
        wanted = [
            (one, window, self._kind(one, window, member))
            for one in plan.passes
            for member in one.members
            for window in windows_of(plan, chunk, one)
        ]
        spans = [input_span(plan, one, window, kind.valid_frames) for one, window, kind in wanted]
        whole = Span(min(one.start for one in spans), max(one.end for one in spans))
        inside = whole.common(Span(0, plan.frames))
        data = _frames(track, inside, read)
        #: What all of it is computed from.
        self.heard = heard_in(inside, data)
        audio = _normalized(track, data)
        self.runs: Sequence[Run] = [
            Run(*what, given := _around(audio, inside, span), _silence_in(given))
            for what, span in zip(wanted, spans, strict=True)
        ]
        self._weights = {one: self._share_of(one) for one in plan.passes}
        self._sums = np.zeros((len(self._indices), CHANNELS, self._span.frames), np.float32)

    def add(self, run: Run, output: Samples) -> None:
        """Weigh an output, (all sources, channels, frames), and add it where it belongs."""
        span = window_span(self._plan, run.one, run.window)
        # As demucs.utils.center_trim: an odd surplus loses the larger half on the right.
        left = (output.shape[-1] - span.frames) // 2
        inside = span.common(self._span)
        first = left + inside.start - span.start
        part = slice(inside.start - self._span.start, inside.end - self._span.start)
        weight = triangle(run.one.segment)[inside.start - span.start : inside.end - span.start]
        share = weight * self._weights[run.one][part]
        shares = self._model.members[run.kind.member].shares
        for place, index in enumerate(self._indices):
            if shares[index]:
                piece = output[index, :, first : first + inside.frames]
                self._sums[place, :, part] += piece * (share * np.float32(shares[index]))

    def sums(self) -> Samples:
        """What the chunk contributes, shape (computed sources, frames, channels).

        ``internal`` if the model gave numbers that are no audio.
        """
        if not np.isfinite(self._sums).all():
            detail = f"{self._plan.model} gave numbers that are not audio"
            raise TerminalError(Code.INTERNAL, detail)
        return np.ascontiguousarray(self._sums.transpose(0, 2, 1))

    def _kind(self, one: Pass, window: int, member: int) -> Kind:
        frames = window_span(self._plan, one, window).frames
        valid = self._model.members[member].valid_length(frames)
        return Kind(self._plan.digest, member, valid, self._plan.precision)

    def _share_of(self, one: Pass) -> Samples:
        """What a pass counts for at each frame, by what its windows' weights add up to there."""
        weight = pass_weight(self._plan, one, self._span)
        return (1 / (weight * max(1, self._plan.shifts))).astype(np.float32)


def _around(audio: Samples, inside: Span, wanted: Span) -> Samples:
    """The audio of ``wanted``, of which ``inside`` is there; the real audio around a window.

    What lies outside the track is zeros.
    """
    there = wanted.common(inside)
    piece = audio[:, there.start - inside.start : there.end - inside.start]
    missing = (there.start - wanted.start, wanted.end - there.end)
    return np.pad(piece, ((0, 0), missing)) if any(missing) else piece


def _silence_in(given: Samples) -> bytes | None:
    first = given[:, :1]
    # Most windows are told by a look at few of their samples.
    if (given[:, ::1024] != first).any() or (given != first).any():
        return None
    return bytes(first.tobytes())


def _frames(track: Track, span: Span, read: ReadFrames) -> bytes:
    data = read(span.start, span.end)
    if len(data) != span.frames * FRAME_BYTES:
        raise TerminalError(Code.BLOB_CORRUPT, f"track {track.id} is shorter than it says")
    return data


def _normalized(track: Track, data: bytes) -> Samples:
    """The track's frames as the model sees them, (channels, frames)."""
    frames = np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)
    mean, scale = (np.float32(number) for number in normalization(track))
    return np.ascontiguousarray(((frames - mean) / scale).T)
