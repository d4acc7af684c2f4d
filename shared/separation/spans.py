"""A chunk's contribution to the stems as a blob, readable and verifiable block by block.

Layout: ``MAGIC``, the header's length (uint32, little-endian), the header (JSON), the payload:
float32 little-endian, shape (sources, frames, channels).  What is stored is divided by the
total weight already, so contributions are simply added up.

Blocks lie on one grid over the whole track: block b is frames ``b * BLOCK_FRAMES`` up to the
next, so a reader adds up block after block, whichever chunks they come from.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from msgspec import Struct

from shared.contracts.audio import CHANNELS, FRAME_BYTES, Plan
from shared.contracts.codec import encode
from shared.errors import Code, TerminalError
from shared.separation.identity import heard_hash
from shared.separation.windows import Span, output_span

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"STEMSUM3"
_LENGTH: Final = struct.Struct("<I")
#: Bytes before the header.
PREFIX_BYTES: Final = len(MAGIC) + _LENGTH.size
#: Frames of a block: about a second and a half, half a megabyte of one source.
BLOCK_FRAMES: Final = 1 << 16
#: Bytes of a block's checksum.
_CHECK_BYTES: Final = 8


class SpanHeader(Struct, frozen=True, kw_only=True):
    """What a span holds."""

    #: Identifies the weights that made it: spans of different models are never added up.
    digest: str
    sources: tuple[str, ...]
    #: First frame in the track, and how many.
    start: int
    frames: int

    @property
    def span(self) -> Span:
        """The frames that it covers."""
        return Span(self.start, self.start + self.frames)

    @property
    def blocks(self) -> range:
        """The blocks that it has something of."""
        return range(self.start // BLOCK_FRAMES, -(-(self.start + self.frames) // BLOCK_FRAMES))

    def part(self, block: int) -> Span:
        """The frames of the track that it has of a block."""
        return self.span.common(Span(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES))


class Heard(Struct, frozen=True, kw_only=True):
    """What a chunk was computed from: these frames of the track."""

    start: int
    frames: int
    #: ``heard_hash`` of them, interleaved float32.
    hash: str

    @property
    def span(self) -> Span:
        """The frames."""
        return Span(self.start, self.start + self.frames)


class _SealedHeader(Struct, frozen=True, kw_only=True):
    header: SpanHeader
    heard: Heard
    #: Of each source the checksums of its blocks, in order, in hexadecimal.
    blocks: tuple[tuple[str, ...], ...]
    #: Checksum of all of the above.
    seal: str


class SpanReader:
    """Finds and verifies blocks in a span's blob, of which only the beginning has been read."""

    def __init__(self, sealed: _SealedHeader, payload_at: int, key: str) -> None:
        self.header = sealed.header
        self.heard = sealed.heard
        self._checks = sealed.blocks
        self._payload_at = payload_at
        self._key = key

    def place(self, source: str, block: int) -> Span:
        """The bytes of a source's part of a block."""
        header = self.header
        part = header.part(block)
        first = header.sources.index(source) * header.frames + part.start - header.start
        start = self._payload_at + first * FRAME_BYTES
        return Span(start, start + part.frames * FRAME_BYTES)

    def samples(self, source: str, block: int, data: bytes) -> NDArray[np.float32]:
        """What was read at ``place``, (frames, channels); ``blob.corrupt`` if it is damaged."""
        header = self.header
        expected = self._checks[header.sources.index(source)][block - header.blocks.start]
        if _checksum(data) != expected:
            detail = f"{self._key}: block {block} of {source} is damaged"
            raise TerminalError(Code.BLOB_CORRUPT, detail)
        return np.frombuffer(data, dtype="<f4").reshape(-1, CHANNELS)


def header_of(plan: Plan, chunk: int) -> SpanHeader:
    """What the blob of a plan's chunk must say of itself."""
    span = output_span(plan, chunk)
    return SpanHeader(
        digest=plan.digest, sources=plan.computed, start=span.start, frames=span.frames
    )


def heard_in(span: Span, data: bytes) -> Heard:
    """That these frames were heard, (frames, channels) float32."""
    digest = heard_hash()
    digest.update(data)
    return Heard(start=span.start, frames=span.frames, hash=digest.hexdigest())


def pack_span(header: SpanHeader, sums: NDArray[np.float32], heard: Heard) -> bytes:
    """The blob of ``sums``, shape (sources, frames, channels), computed from what was heard."""
    payload = np.ascontiguousarray(sums, dtype="<f4")
    parts = [header.part(block) for block in header.blocks]
    blocks = tuple(
        tuple(
            _checksum(source[part.start - header.start : part.end - header.start].data)
            for part in parts
        )
        for source in payload
    )
    seal = _seal(header, heard, blocks)
    sealed = encode(_SealedHeader(header=header, heard=heard, blocks=blocks, seal=seal))
    data = payload.reshape(-1).view(np.uint8).data
    return b"".join((MAGIC, _LENGTH.pack(len(sealed)), sealed, data))


def header_bytes(prefix: bytes, key: str) -> int:
    """The length of the header that follows the first ``PREFIX_BYTES``."""
    if len(prefix) != PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: this is no chunk")
    (length,) = _LENGTH.unpack_from(prefix, len(MAGIC))
    return int(length)


def open_span(header: bytes, expected: SpanHeader, size: int, key: str) -> SpanReader:
    """A reader of the blob of ``size`` bytes that begins with this header.

    ``blob.corrupt`` (naming ``key``) if it is not exactly what ``expected`` says, or damaged.
    """
    try:
        sealed = msgspec.json.decode(header, type=_SealedHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: {exc}") from exc
    if sealed.header != expected:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is of another chunk or model")
    if sealed.seal != _seal(sealed.header, sealed.heard, sealed.blocks):
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: its header's checksum is wrong")
    payload_at = PREFIX_BYTES + len(header)
    if size != payload_at + len(expected.sources) * expected.frames * FRAME_BYTES:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it has the wrong length")
    return SpanReader(sealed, payload_at, key)


def _checksum(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[: 2 * _CHECK_BYTES]


def _seal(header: SpanHeader, heard: Heard, blocks: tuple[tuple[str, ...], ...]) -> str:
    said = "\n".join(",".join(source) for source in blocks)
    return hashlib.sha256(encode(header) + encode(heard) + said.encode()).hexdigest()
