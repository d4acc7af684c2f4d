"""Chunks' blobs: what was computed, on its way to whoever adds it up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared.errors import Code, TerminalError
from shared.separation.spans import PREFIX_BYTES, SpanHeader, SpanReader, header_bytes, open_span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shared.blobs import BlockingBlobs


class StoredChunk:
    """One chunk's blob, of which only the beginning has been read."""

    def __init__(self, blobs: BlockingBlobs, key: str, expected: SpanHeader) -> None:
        """``blob.missing`` or ``blob.corrupt`` if it is not there, or not what is expected."""
        size = blobs.size(key)
        if size < PREFIX_BYTES:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: this is no chunk")
        length = header_bytes(blobs.get_range(key, 0, PREFIX_BYTES), key)
        if PREFIX_BYTES + length > size:  # before that much memory is asked for
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it is shorter than it says")
        header = blobs.get_range(key, PREFIX_BYTES, PREFIX_BYTES + length)
        self._reader: SpanReader = open_span(header, expected, size, key)
        self._blobs = blobs
        self._key = key
        self.header = expected
        #: What it was computed from.
        self.heard = self._reader.heard

    def samples(self, source: str, block: int) -> NDArray[np.float32]:
        """A source's part of a block, (frames, channels); ``blob.corrupt`` if it is damaged."""
        data = self._blobs.get_range(self._key, *self._reader.place(source, block))
        return self._reader.samples(source, block, data)

    def verify(self) -> None:
        """Read all of it; ``blob.corrupt`` if it is damaged anywhere."""
        for block in self.header.blocks:
            for source in self.header.sources:
                self.samples(source, block)


def is_stored(blobs: BlockingBlobs, key: str, expected: SpanHeader) -> bool:
    """Whether a chunk is there, undamaged."""
    with suppress(TerminalError):
        StoredChunk(blobs, key, expected).verify()
        return True
    return False
