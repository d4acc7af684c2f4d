"""Adding the chunks up: weighted sums to stems, streaming, a chunk or two in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from services.separator.core import (
    chunk_weight,
    is_derived,
    normalization,
    output_span,
    source_of,
)
from services.separator.spans import SpanHeader, unpack_span
from shared.blobs import BlockingBlobs, track_audio_key
from shared.contracts.audio import CHANNELS, FRAME_BYTES, Plan, Track
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: Frames of a block: about a second.
BLOCK_FRAMES: Final = 1 << 16


class Block(NamedTuple):
    """Some frames of the track, taken apart."""

    start: int
    #: (frames, channels) each.
    mix: NDArray[np.float32]
    stems: dict[str, NDArray[np.float32]]


class Gathering:
    """The stems of one track, read from its chunks as often as they are needed."""

    def __init__(
        self, *, blobs: BlockingBlobs, track: Track, plan: Plan, chunk_keys: tuple[str, ...]
    ) -> None:
        if len(chunk_keys) != plan.chunks:
            detail = f"{len(chunk_keys)} chunks of {plan.chunks}"
            raise TerminalError(Code.BLOB_MISSING, detail)
        self._blobs = blobs
        self._track = track
        self._plan = plan
        self._chunk_keys = chunk_keys

    def blocks(self) -> Iterator[Block]:
        """All of the track in order, each frame once, in blocks of at most BLOCK_FRAMES."""
        plan = self._plan
        shape = (len(plan.computed), 0, CHANNELS)
        # What the chunk before has added beyond this one's start.
        tail, tail_weight = np.zeros(shape, np.float32), np.zeros(0, np.float32)
        for chunk in range(plan.chunks):
            span = output_span(plan, chunk)
            last = chunk == plan.chunks - 1
            end = plan.frames if last else output_span(plan, chunk + 1).start
            sums, weight = self._read(chunk), chunk_weight(plan, chunk)
            weight[: len(tail_weight)] += tail_weight
            for start in range(0, end - span.start, BLOCK_FRAMES):
                part = slice(start, min(start + BLOCK_FRAMES, end - span.start))
                yield self._block(span.start, part, _with_tail(sums, tail, part), weight[part])
            rest = slice(end - span.start, span.frames)
            # A copy, so that this chunk's memory is free before the next one is read.
            tail, tail_weight = _with_tail(sums, tail, rest), weight[rest].copy()
            del sums

    def _read(self, chunk: int) -> NDArray[np.float32]:
        key = self._chunk_keys[chunk]
        span = output_span(self._plan, chunk)
        expected = SpanHeader(
            digest=self._plan.digest,
            sources=self._plan.computed,
            start=span.start,
            frames=span.frames,
        )
        return unpack_span(self._blobs.get_range(key, 0, self._blobs.size(key)), expected, key)

    def _block(
        self, origin: int, part: slice, sums: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> Block:
        """Divide by the weight, undo the normalization, derive what is derived."""
        start, end = origin + part.start, origin + part.stop
        mean, scale = (np.float32(number) for number in normalization(self._track))
        sums /= weight[None, :, None]
        sums *= scale
        sums += mean
        sources = dict(zip(self._plan.computed, sums, strict=True))
        mix = self._mix(start, end)
        stems: dict[str, NDArray[np.float32]] = {}
        for stem in self._plan.stems:
            source = sources[source_of(stem, self._plan.sources)]
            stems[stem] = mix - source if is_derived(stem, self._plan) else source
        return Block(start, mix, stems)

    def _mix(self, start: int, end: int) -> NDArray[np.float32]:
        key = track_audio_key(self._track.id)
        data = self._blobs.get_range(key, start * FRAME_BYTES, end * FRAME_BYTES)
        if len(data) != (end - start) * FRAME_BYTES:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        return np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)


def _with_tail(
    sums: NDArray[np.float32], tail: NDArray[np.float32], part: slice
) -> NDArray[np.float32]:
    """A copy of ``part`` of the sums, with what the chunk before had to say about it."""
    piece = sums[:, part].copy()
    ahead = tail[:, part]
    piece[:, : ahead.shape[1]] += ahead
    return piece
