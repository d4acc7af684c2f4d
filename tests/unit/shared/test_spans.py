"""A chunk's contribution as a blob: found, read and verified block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from shared.contracts.audio import CHANNELS, FRAME_BYTES
from shared.errors import Code, TerminalError
from shared.separation.spans import (
    BLOCK_FRAMES,
    PREFIX_BYTES,
    SpanHeader,
    SpanReader,
    header_bytes,
    heard_in,
    open_span,
    pack_span,
)
from shared.separation.windows import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: It begins inside one block, has all of the next and a little of the one after.
HEADER = SpanHeader(
    digest="d", sources=("vocals", "drums"), start=BLOCK_FRAMES - 7, frames=BLOCK_FRAMES + 12
)
SHORT = SpanHeader(digest="d", sources=("vocals", "drums"), start=7, frames=5)

HEARD = heard_in(Span(3, 8), bytes(5 * FRAME_BYTES))


def sums(header: SpanHeader = HEADER) -> NDArray[np.float32]:
    shape = (len(header.sources), header.frames, CHANNELS)
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def opened(blob: bytes, expected: SpanHeader, key: str = "work/j/1/chunk-0") -> SpanReader:
    length = header_bytes(blob[:PREFIX_BYTES], key)
    return open_span(blob[PREFIX_BYTES : PREFIX_BYTES + length], expected, len(blob), key)


def read(blob: bytes, expected: SpanHeader) -> NDArray[np.float32]:
    reader = opened(blob, expected)
    sources = []
    for source in expected.sources:
        parts = []
        for block in expected.blocks:
            place = reader.place(source, block)
            parts.append(reader.samples(source, block, blob[place.start : place.end]))
            assert len(parts[-1]) == reader.header.part(block).frames
        sources.append(np.concatenate(parts))
    return np.stack(sources)


@pytest.mark.parametrize("header", [HEADER, SHORT])
def test_a_span_comes_back_as_it_was(header: SpanHeader) -> None:
    np.testing.assert_array_equal(
        sums(header), read(pack_span(header, sums(header), HEARD), header)
    )


def test_an_array_that_is_not_contiguous_is_stored_in_order() -> None:
    turned = np.ascontiguousarray(sums().transpose(0, 2, 1)).transpose(0, 2, 1)
    np.testing.assert_array_equal(sums(), read(pack_span(HEADER, turned, HEARD), HEADER))


def test_blocks_lie_on_one_grid_over_the_whole_track() -> None:
    assert list(HEADER.blocks) == [0, 1, 2]
    reader = opened(pack_span(HEADER, sums(), HEARD), HEADER)
    assert [reader.header.part(block).frames for block in HEADER.blocks] == [7, BLOCK_FRAMES, 5]


def test_a_span_says_what_it_was_computed_from() -> None:
    reader = opened(pack_span(SHORT, sums(SHORT), HEARD), SHORT)
    assert (reader.heard, reader.heard.span) == (HEARD, Span(3, 8))
    others = [heard_in(Span(3, 8), bytes(39) + b"x"), heard_in(Span(4, 9), bytes(40))]
    assert HEARD not in others


def test_one_wrong_bit_anywhere_is_noticed() -> None:
    whole = pack_span(SHORT, sums(SHORT), HEARD)
    for place in range(len(whole)):
        blob = bytearray(whole)
        blob[place] ^= 1
        with pytest.raises(TerminalError) as caught:
            read(bytes(blob), SHORT)
        assert caught.value.code is Code.BLOB_CORRUPT


@pytest.mark.parametrize("keep", [0, 3, 10, 40, -4])
def test_a_cut_off_span_is_noticed(keep: int) -> None:
    with pytest.raises(TerminalError, match="work/j/1/chunk-0") as caught:
        opened(pack_span(HEADER, sums(), HEARD)[:keep], HEADER)
    assert caught.value.code is Code.BLOB_CORRUPT


@pytest.mark.parametrize(
    "other",
    [
        SpanHeader(digest="e", sources=SHORT.sources, start=7, frames=5),
        SpanHeader(digest="d", sources=("drums", "vocals"), start=7, frames=5),
        SpanHeader(digest="d", sources=SHORT.sources, start=8, frames=5),
    ],
)
def test_a_span_of_something_else_is_refused(other: SpanHeader) -> None:
    with pytest.raises(TerminalError, match="another chunk or model"):
        opened(pack_span(other, sums(other), HEARD), SHORT)
