"""A chunk's weighted sums as a blob: a header that says what it is, a checksum, the samples.

Layout: ``MAGIC``, the header's length (uint32, little-endian), the header (JSON), the payload:
float32 little-endian, shape (sources, frames, channels).
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from msgspec import Struct

from shared.contracts.audio import CHANNELS
from shared.contracts.codec import encode
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"STEMSUM1"
_LENGTH: Final = struct.Struct("<I")


class SpanHeader(Struct, frozen=True, kw_only=True):
    """What a span holds."""

    #: Identifies the weights that made it: spans of different models are never added up.
    digest: str
    sources: tuple[str, ...]
    #: First frame in the track, and how many.
    start: int
    frames: int


class _SealedHeader(Struct, frozen=True, kw_only=True):
    header: SpanHeader
    #: SHA-256 of the header and the payload.
    checksum: str


def pack_span(header: SpanHeader, sums: NDArray[np.float32]) -> bytes:
    """The blob of ``sums``, shape (sources, frames, channels)."""
    payload = np.ascontiguousarray(sums, dtype="<f4").reshape(-1).view(np.uint8).data
    sealed = encode(_SealedHeader(header=header, checksum=_checksum(header, payload)))
    return b"".join((MAGIC, _LENGTH.pack(len(sealed)), sealed, payload))


def unpack_span(blob: bytes, expected: SpanHeader, key: str) -> NDArray[np.float32]:
    """The sums in ``blob``, (sources, frames, channels), without copying them.

    ``blob.corrupt`` (naming ``key``) if they are not exactly what ``expected`` says, or damaged.
    """
    try:
        (length,) = _LENGTH.unpack_from(blob, len(MAGIC))
        start = len(MAGIC) + _LENGTH.size
        sealed = msgspec.json.decode(blob[start : start + length], type=_SealedHeader)
    except (ValueError, struct.error) as exc:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: {exc}") from exc
    if not blob.startswith(MAGIC) or sealed.header != expected:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is of another chunk or model")
    payload = memoryview(blob)[start + length :]
    if sealed.checksum != _checksum(sealed.header, payload):
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: its checksum is wrong")
    shape = (len(expected.sources), expected.frames, CHANNELS)
    if len(payload) != 4 * shape[0] * shape[1] * shape[2]:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it has the wrong length")
    return np.frombuffer(payload, dtype="<f4").reshape(shape)


def _checksum(header: SpanHeader, payload: memoryview) -> str:
    digest = hashlib.sha256(encode(header))
    digest.update(payload)
    return digest.hexdigest()
