"""One stem of a stretch of a song, added up from the chunks that are done, block by block.

It is what finalization does with the whole song, in the same order, so it is the same sound.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from services.gateway.wav import wav_samples
from shared.blobs import chunk_key, track_audio_key
from shared.contracts.audio import CHANNELS, FRAME_BYTES
from shared.errors import Code, TerminalError
from shared.separation.spans import (
    BLOCK_FRAMES,
    PREFIX_BYTES,
    SpanReader,
    header_bytes,
    header_of,
    open_span,
)
from shared.separation.stems import stems_of
from shared.separation.windows import Span, chunks_over, is_derived, piece_span, source_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from numpy.typing import NDArray

    from shared.blobs import BlobInfo
    from shared.contracts.audio import Plan, Track

#: The mix, where a stem needs none of it.
_NO_MIX: Final[NDArray[np.float32]] = np.zeros((0, CHANNELS), np.float32)


class Blobs(Protocol):
    """The blob store, for reading."""

    async def info(self, key: str) -> BlobInfo | None:
        """What is known of a blob; None if there is none."""

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes ``start`` up to ``end``."""


class Source(NamedTuple):
    """Where a job's audio lies."""

    plan: Plan
    track: Track
    #: Whose folder the chunks are in, and of each the attempt that was accepted.
    run: str
    attempts: Mapping[int, int]


class _Part(NamedTuple):
    """What one chunk has of a block, as it was read."""

    reader: SpanReader
    data: bytes


class Stretch:
    """The samples of one piece of one stem."""

    def __init__(self, *, blobs: Blobs, source: Source, piece: int, stem: str) -> None:
        self._blobs = blobs
        self._source = source
        self._stem = stem
        self._computed = source_of(stem, source.plan.sources)
        self._span = piece_span(source.plan, piece)
        self._readers: dict[int, SpanReader] = {}

    @property
    def frames(self) -> int:
        """Its length."""
        return self._span.frames

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """All of it in order, as a WAV file's samples, at most BLOCK_FRAMES at a time.

        ``blob.corrupt`` or ``blob.missing`` instead of a block that can't be had as it was stored.
        """
        for block in range(self._span.start // BLOCK_FRAMES, -(-self._span.end // BLOCK_FRAMES)):
            wanted = self._span.common(Span(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES))
            chunks = chunks_over(self._source.plan, wanted)
            parts = [await self._part(chunk, block) for chunk in chunks]
            mix = await self._mix(wanted)
            yield await asyncio.to_thread(self._added, block, wanted, parts, mix)

    def _added(self, block: int, wanted: Span, parts: list[_Part], mix: bytes | None) -> bytes:
        """In a thread: the checksums and the sum of a block."""
        plan, track, _, _ = self._source
        total = np.zeros((wanted.frames, CHANNELS), np.float32)
        for reader, data in parts:
            samples = reader.samples(self._computed, block, data)
            there = reader.header.part(block)
            common = there.common(wanted)
            total[common.start - wanted.start : common.end - wanted.start] += samples[
                common.start - there.start : common.end - there.start
            ]
        heard = _NO_MIX if mix is None else np.frombuffer(mix, "<f4").reshape(-1, CHANNELS)
        made = stems_of(plan, track, heard, {self._computed: total}, (self._stem,))
        return wav_samples(made[self._stem])

    async def _part(self, chunk: int, block: int) -> _Part:
        reader = await self._reader(chunk)
        place = reader.place(self._computed, block)
        return _Part(reader, await self._blobs.get_range(self._key(chunk), *place))

    async def _reader(self, chunk: int) -> SpanReader:
        """What a chunk's header says; read once."""
        if chunk not in self._readers:
            key, expected = self._key(chunk), header_of(self._source.plan, chunk)
            info = await self._blobs.info(key)
            if info is None:
                raise TerminalError(Code.BLOB_MISSING, key)
            length = header_bytes(await self._blobs.get_range(key, 0, PREFIX_BYTES), key)
            payload = len(expected.sources) * expected.frames * FRAME_BYTES
            if PREFIX_BYTES + length + payload != info.size:  # it may claim to be gigabytes long
                raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it has the wrong length")
            header = await self._blobs.get_range(key, PREFIX_BYTES, PREFIX_BYTES + length)
            self._readers[chunk] = open_span(header, expected, info.size, key)
        return self._readers[chunk]

    def _key(self, chunk: int) -> str:
        return chunk_key(self._source.run, self._source.attempts[chunk], chunk)

    async def _mix(self, wanted: Span) -> bytes | None:
        """The song itself there; None where the stem is not made from it."""
        if not is_derived(self._stem, self._source.plan):
            return None
        key = track_audio_key(self._source.track.id)
        start, end = wanted.start * FRAME_BYTES, wanted.end * FRAME_BYTES
        data = await self._blobs.get_range(key, start, end)
        if len(data) != end - start:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        return data
