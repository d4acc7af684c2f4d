"""Adding the chunks up: contributions to stems, streaming, a block in memory."""

from __future__ import annotations

from contextlib import contextmanager
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


class ChunkLostError(Exception):
    """A chunk's blob is missing or damaged: it must be made anew."""

    def __init__(self, chunk: int, error: TerminalError) -> None:
        super().__init__(chunk, str(error))
        self.chunk = chunk
        self.error = error


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
        """All of the track in order, each frame once, in blocks of at most BLOCK_FRAMES.

        ``ChunkLostError`` where a chunk can't be used; any other error is the track's.
        """
        plan = self._plan
        for block in range(-(-plan.frames // BLOCK_FRAMES)):
            span = Span(block * BLOCK_FRAMES, min((block + 1) * BLOCK_FRAMES, plan.frames))
            mix = self._mix(span)
            sums = self._sums(block, span)
            yield Block(span.start, mix, stems_of(plan, self._track, mix, sums, plan.stems))

    def lost(self, chunk: int) -> ChunkLostError | None:
        """What is wrong with a chunk, all of which is read."""
        try:
            with _losing(chunk):
                reader = self._opened(chunk)
                for block in reader.header.blocks:
                    for source in reader.header.sources:
                        self._samples(chunk, reader, source, block)
        except ChunkLostError as exc:
            return exc
        return None

    def _sums(self, block: int, span: Span) -> dict[str, NDArray[np.float32]]:
        sums = {
            source: np.zeros((span.frames, CHANNELS), np.float32) for source in self._plan.computed
        }
        for chunk in chunks_over(self._plan, span):
            with _losing(chunk):
                reader = self._reader(chunk)
                covered = reader.frames(block)
                part = slice(covered.start - span.start, covered.end - span.start)
                for source, total in sums.items():
                    total[part] += self._samples(chunk, reader, source, block)
        return sums

    def _samples(
        self, chunk: int, reader: SpanReader, source: str, block: int
    ) -> NDArray[np.float32]:
        place = reader.place(source, block)
        return reader.samples(source, block, self._blobs.get_range(self._chunk_keys[chunk], *place))

    def _reader(self, chunk: int) -> SpanReader:
        """What a chunk's header says; read once, and let go when the chunk lies behind."""
        if chunk not in self._readers:
            reader = self._opened(chunk)
            behind = [one for one in self._readers if self._ends_before(one, reader)]
            for one in behind:
                del self._readers[one]
            self._readers[chunk] = reader
        return self._readers[chunk]

    def _opened(self, chunk: int) -> SpanReader:
        key = self._chunk_keys[chunk]
        size = self._blobs.size(key)
        if size < PREFIX_BYTES:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: this is no chunk")
        length = header_bytes(self._blobs.get_range(key, 0, PREFIX_BYTES), key)
        if PREFIX_BYTES + length > size:  # before that much memory is asked for
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        header = self._blobs.get_range(key, PREFIX_BYTES, PREFIX_BYTES + length)
        return open_span(header, header_of(self._plan, chunk), size, key)

    def _ends_before(self, chunk: int, reader: SpanReader) -> bool:
        return self._readers[chunk].header.span.end <= reader.header.start

    def _mix(self, span: Span) -> NDArray[np.float32]:
        key = track_audio_key(self._track.id)
        data = self._blobs.get_range(key, span.start * FRAME_BYTES, span.end * FRAME_BYTES)
        if len(data) != span.frames * FRAME_BYTES:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        return np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)


@contextmanager
def _losing(chunk: int) -> Iterator[None]:
    """What is wrong here for good is wrong with this chunk."""
    try:
        yield
    except TerminalError as exc:
        raise ChunkLostError(chunk, exc) from exc
