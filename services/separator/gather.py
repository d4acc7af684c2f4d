"""Adding the chunks up: contributions to stems, streaming, a block in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from services.separator.chunks import StoredChunk
from services.separator.hearing import Hearing
from services.separator.tracks import whole_track
from shared.contracts.audio import CHANNELS, FRAME_BYTES, Plan, Track
from shared.errors import Code, TerminalError
from shared.separation.identity import track_hash
from shared.separation.spans import BLOCK_FRAMES, header_of
from shared.separation.stems import Block, stems_of
from shared.separation.windows import Span, chunks_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shared.blobs import BlockingBlobs


class ChunkLostError(Exception):
    """A chunk's blob is missing or damaged: it must be made anew."""

    def __init__(self, chunk: int, error: TerminalError) -> None:
        super().__init__(chunk, str(error))
        self.chunk = chunk
        self.error = error


class TrackLostError(Exception):
    """The track is missing or damaged: it must be fetched anew."""

    def __init__(self, error: TerminalError) -> None:
        super().__init__(str(error))
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
        self._opened: dict[int, StoredChunk] = {}
        #: Chunks that were computed from something else than the track.
        self._mistaken: tuple[int, ...] = ()

    def blocks(self) -> Iterator[Block]:
        """All of the track in order, each frame once, in blocks of at most BLOCK_FRAMES.

        ``ChunkLostError`` where a chunk can't be used; ``TrackLostError`` where the track can't,
        at the end if its bytes are others than those that it is named after.  Whoever heard
        others while it was damaged computed something else: such a chunk is lost, too.
        """
        plan = self._plan
        with _losing_track():
            key = whole_track(self._blobs, self._track)

        def read(span: Span) -> bytes:
            with _losing_track():
                return self._blobs.get_range(key, span.start * FRAME_BYTES, span.end * FRAME_BYTES)

        whole, hearing = track_hash(), Hearing(read)
        self._opened = {}
        for block in range(-(-plan.frames // BLOCK_FRAMES)):
            span = Span(block * BLOCK_FRAMES, min((block + 1) * BLOCK_FRAMES, plan.frames))
            data = read(span)
            whole.update(data)
            mix = np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)
            sums = self._sums(block, span, hearing)
            hearing.hear(span, data)
            yield Block(span.start, mix, stems_of(plan, self._track, mix, sums, plan.stems))
        if whole.hexdigest() != self._track.id:
            raise TrackLostError(TerminalError(Code.BLOB_CORRUPT, f"{key}: it was changed"))
        self._mistaken = hearing.mistaken()
        if self._mistaken:
            raise self._mistake(self._mistaken[0])

    def lost(self, chunk: int) -> ChunkLostError | None:
        """What is wrong with a chunk, all of which is read."""
        if chunk in self._mistaken:
            return self._mistake(chunk)
        try:
            with _losing(chunk):
                self._open(chunk).verify()
        except ChunkLostError as exc:
            return exc
        return None

    def _mistake(self, chunk: int) -> ChunkLostError:
        detail = f"{self._chunk_keys[chunk]}: it was computed while the track was another"
        return ChunkLostError(chunk, TerminalError(Code.BLOB_CORRUPT, detail))

    def _sums(self, block: int, span: Span, hearing: Hearing) -> dict[str, NDArray[np.float32]]:
        sums = {
            source: np.zeros((span.frames, CHANNELS), np.float32) for source in self._plan.computed
        }
        for chunk in chunks_over(self._plan, span):
            with _losing(chunk):
                if chunk not in self._opened:
                    hearing.expect(chunk, self._near(chunk).heard, span.start)
                stored = self._opened[chunk]
                covered = stored.header.part(block)
                part = slice(covered.start - span.start, covered.end - span.start)
                for source, total in sums.items():
                    total[part] += stored.samples(source, block)
        return sums

    def _near(self, chunk: int) -> StoredChunk:
        """Open a chunk that has come near; those that lie behind are let go."""
        stored = self._open(chunk)
        start = stored.header.start
        behind = [one for one, it in self._opened.items() if it.header.span.end <= start]
        for one in behind:
            del self._opened[one]
        self._opened[chunk] = stored
        return stored

    def _open(self, chunk: int) -> StoredChunk:
        return StoredChunk(self._blobs, self._chunk_keys[chunk], header_of(self._plan, chunk))


@contextmanager
def _losing_track() -> Iterator[None]:
    """What is wrong here for good is wrong with the track."""
    try:
        yield
    except TerminalError as exc:
        raise TrackLostError(exc) from exc


@contextmanager
def _losing(chunk: int) -> Iterator[None]:
    """What is wrong here for good is wrong with this chunk."""
    try:
        yield
    except TerminalError as exc:
        raise ChunkLostError(chunk, exc) from exc
