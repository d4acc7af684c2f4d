"""Adding the chunks up: contributions to stems, streaming, a block in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.blobs import BlockingBlobs, track_audio_key
from shared.contracts.audio import CHANNELS, FRAME_BYTES, Plan, Track
from shared.errors import Code, TerminalError
from shared.separation.spans import (
    BLOCK_FRAMES,
    PREFIX_BYTES,
    SpanReader,
    header_bytes,
    header_of,
    open_span,
)
from shared.separation.stems import Block, stems_of
from shared.separation.windows import Span, chunks_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


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
        self._readers: dict[int, SpanReader] = {}

    def blocks(self) -> Iterator[Block]:
        """All of the track in order, each frame once, in blocks of at most BLOCK_FRAMES."""
        plan = self._plan
        for block in range(-(-plan.frames // BLOCK_FRAMES)):
            span = Span(block * BLOCK_FRAMES, min((block + 1) * BLOCK_FRAMES, plan.frames))
            mix = self._mix(span)
            sums = self._sums(block, span)
            yield Block(span.start, mix, stems_of(plan, self._track, mix, sums, plan.stems))

    def _sums(self, block: int, span: Span) -> dict[str, NDArray[np.float32]]:
        sums = {
            source: np.zeros((span.frames, CHANNELS), np.float32) for source in self._plan.computed
        }
        for chunk in chunks_over(self._plan, span):
            reader, key = self._reader(chunk), self._chunk_keys[chunk]
            covered = reader.frames(block)
            part = slice(covered.start - span.start, covered.end - span.start)
            for source, total in sums.items():
                data = self._blobs.get_range(key, *reader.place(source, block))
                total[part] += reader.samples(source, block, data)
        return sums

    def _reader(self, chunk: int) -> SpanReader:
        """What a chunk's header says; read once, and let go when the chunk lies behind."""
        if chunk not in self._readers:
            key = self._chunk_keys[chunk]
            length = header_bytes(self._blobs.get_range(key, 0, PREFIX_BYTES), key)
            header = self._blobs.get_range(key, PREFIX_BYTES, PREFIX_BYTES + length)
            expected = header_of(self._plan, chunk)
            reader = open_span(header, expected, self._blobs.size(key), key)
            behind = [one for one in self._readers if self._ends_before(one, reader)]
            for one in behind:
                del self._readers[one]
            self._readers[chunk] = reader
        return self._readers[chunk]

    def _ends_before(self, chunk: int, reader: SpanReader) -> bool:
        return self._readers[chunk].header.span.end <= reader.header.start

    def _mix(self, span: Span) -> NDArray[np.float32]:
        key = track_audio_key(self._track.id)
        data = self._blobs.get_range(key, span.start * FRAME_BYTES, span.end * FRAME_BYTES)
        if len(data) != span.frames * FRAME_BYTES:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        return np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)
