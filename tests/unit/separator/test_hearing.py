"""What chunks have heard is compared with the track, wherever they lie on it."""

from __future__ import annotations

from typing import Final

import pytest

from services.separator.hearing import Hearing
from shared.contracts.audio import FRAME_BYTES
from shared.separation.spans import Heard, heard_in
from shared.separation.windows import Span
from tests.support.audio import noise

BLOCK: Final = 100
FRAMES: Final = 350
TRACK: Final = noise(FRAMES).tobytes()


def read(span: Span) -> bytes:
    return TRACK[span.start * FRAME_BYTES : span.end * FRAME_BYTES]


def compared(heard: Heard, near: int) -> tuple[int, ...]:
    """The track read block by block; the chunk comes near with block ``near``."""
    hearing = Hearing(read)
    for block in range(-(-FRAMES // BLOCK)):
        span = Span(block * BLOCK, min((block + 1) * BLOCK, FRAMES))
        if block == near:
            hearing.expect(7, heard, span.start)
        hearing.hear(span, read(span))
    return hearing.mistaken()


@pytest.mark.parametrize("near", [0, 1, 2])
@pytest.mark.parametrize(
    "span",
    [(0, 1), (0, 350), (99, 101), (100, 200), (0, 100), (150, 340), (201, 349), (349, 350), (5, 5)],
)
def test_who_has_heard_the_track_is_believed(span: tuple[int, int], near: int) -> None:
    """Also where some of it, or all, lies before the block with which the chunk comes near."""
    assert compared(heard_in(Span(*span), read(Span(*span))), near) == ()


@pytest.mark.parametrize("near", [0, 1, 2])
@pytest.mark.parametrize("span", [(0, 1), (0, 350), (99, 101), (150, 340), (349, 350)])
def test_one_other_bit_is_noticed(span: tuple[int, int], near: int) -> None:
    data = bytearray(read(Span(*span)))
    data[-1] ^= 1
    assert compared(heard_in(Span(*span), bytes(data)), near) == (7,)


@pytest.mark.parametrize("span", [(340, 360), (400, 410), (-5, 5)])
def test_who_has_heard_what_there_is_not_is_mistaken(span: tuple[int, int]) -> None:
    made = heard_in(Span(*span), bytes((span[1] - span[0]) * FRAME_BYTES))
    assert compared(made, 0) == (7,)
