"""Weighted sums as blobs."""

from __future__ import annotations

import numpy as np
import pytest
from services.separator.spans import SpanHeader, pack_span, unpack_span

from shared.errors import Code, TerminalError

HEADER = SpanHeader(digest="d", sources=("vocals", "drums"), start=7, frames=5)


def sums() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.arange(20, dtype=np.float32).reshape(2, 5, 2)


def test_a_span_comes_back_as_it_was() -> None:
    np.testing.assert_array_equal(sums(), unpack_span(pack_span(HEADER, sums()), HEADER, "k"))


def test_an_array_that_is_not_contiguous_is_stored_in_order() -> None:
    turned = np.ascontiguousarray(sums().transpose(0, 2, 1)).transpose(0, 2, 1)
    np.testing.assert_array_equal(sums(), unpack_span(pack_span(HEADER, turned), HEADER, "k"))


@pytest.mark.parametrize("place", [0, 9, 13, 60, -1])
def test_one_wrong_bit_anywhere_is_noticed(place: int) -> None:
    blob = bytearray(pack_span(HEADER, sums()))
    blob[place] ^= 1
    with pytest.raises(TerminalError, match="work/j/1/chunk-0") as caught:
        unpack_span(bytes(blob), HEADER, "work/j/1/chunk-0")
    assert caught.value.code == Code.BLOB_CORRUPT


@pytest.mark.parametrize("keep", [0, 3, 10, 40, -4])
def test_a_cut_off_span_is_noticed(keep: int) -> None:
    with pytest.raises(TerminalError) as caught:
        unpack_span(pack_span(HEADER, sums())[:keep], HEADER, "k")
    assert caught.value.code == Code.BLOB_CORRUPT


@pytest.mark.parametrize(
    "other",
    [
        SpanHeader(digest="e", sources=("vocals", "drums"), start=7, frames=5),
        SpanHeader(digest="d", sources=("drums", "vocals"), start=7, frames=5),
        SpanHeader(digest="d", sources=("vocals", "drums"), start=8, frames=5),
    ],
)
def test_a_span_of_something_else_is_refused(other: SpanHeader) -> None:
    with pytest.raises(TerminalError, match="another chunk or model"):
        unpack_span(pack_span(other, sums()), HEADER, "k")
