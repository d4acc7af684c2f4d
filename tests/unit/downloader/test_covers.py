"""Bytes from outside: which are a picture, and of what size."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.covers import COVER_BYTES, COVER_PIXELS, cover_of, is_cover
from shared.contracts.audio import Cover, Picture
from shared.separation.identity import picture_id
from tests.support.media import picture

JPEG, PNG = picture("jpg", width=40, height=30), picture("png", width=40, height=30)


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG file."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def frame(width: int, height: int, marker: int = 0xC0) -> bytes:
    """A JPEG's header of a frame, of three components."""
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))


def jpeg(*segments: bytes) -> bytes:
    """The beginning of a JPEG file."""
    return b"\xff\xd8" + b"".join(segments)


def png(width: int, height: int) -> bytes:
    """The beginning of a PNG file."""
    return PNG[:16] + struct.pack(">II", width, height) + PNG[24:]


EXIF = segment(0xE1, b"Exif" + bytes(5000))

#: Bytes, and width and height; None: no picture that is taken.
LOOKS = {
    "a real jpeg": (JPEG, (40, 30)),
    "a real png": (PNG, (40, 30)),
    "behind a camera's words": (jpeg(EXIF, EXIF, frame(7, 9)), (7, 9)),
    "progressive": (jpeg(EXIF, frame(7, 9, 0xC2)), (7, 9)),
    "behind tables": (jpeg(segment(0xC4, bytes(60)), frame(7, 9)), (7, 9)),
    "with fill bytes": (jpeg(EXIF, b"\xff\xff\xff" + frame(7, 9)), (7, 9)),
    "with a marker that stands alone": (jpeg(EXIF, b"\xff\x01" + frame(7, 9)), (7, 9)),
    "as large as may be, in pixels": (png(4096, 4096), (4096, 4096)),
    "too large in all": (png(4097, 4096), None),
    "with fill bytes for ever": (jpeg(EXIF, b"\xff" * (1 << 20) + frame(7, 9)), None),
    "as wide as may be": (png(COVER_PIXELS, 1), (COVER_PIXELS, 1)),
    "as high as may be": (jpeg(EXIF, frame(1, COVER_PIXELS)), (1, COVER_PIXELS)),
    "too wide": (png(COVER_PIXELS + 1, 1), None),
    "too high": (jpeg(EXIF, frame(1, COVER_PIXELS + 1)), None),
    "of a bomb's size": (png(2**31 - 1, 2**31 - 1), None),
    "of no width": (png(0, 5), None),
    "of no height": (jpeg(EXIF, frame(5, 0)), None),
    "that ends before it begins": (jpeg(EXIF, b"\xff\xd9", frame(7, 9)), None),
    "with its data first": (jpeg(EXIF, segment(0xDA, b""), frame(7, 9)), None),
    "with no frame": (jpeg(EXIF), None),
    "with noise between": (jpeg(EXIF, b"noise", frame(7, 9)), None),
    "as large as may be": (PNG + bytes(COVER_BYTES - len(PNG)), (40, 30)),
    "a byte too large": (PNG + bytes(COVER_BYTES - len(PNG) + 1), None),
    "nothing": (b"", None),
    "a page": (b"<!doctype html><script>alert(1)</script>", None),
    "an svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", None),
    "a gif": (b"GIF89a\x10\0\x10\0", None),
    "a webp": (b"RIFF\x24\0\0\0WEBPVP8 ", None),
    "a png's first words only": (PNG[:8], None),
}


@pytest.mark.parametrize("what", LOOKS)
def test_a_picture_is_known_by_its_header(what: str) -> None:
    data, size = LOOKS[what]
    found = cover_of("t", data)
    assert (found and (found.width, found.height)) == size
    assert is_cover(data) == (size is not None)


def test_what_is_known_of_a_picture() -> None:
    assert cover_of("t", PNG) == Cover(
        track="t", id=picture_id(PNG), picture=Picture.PNG, bytes=len(PNG), width=40, height=30
    )
    found = cover_of("t", JPEG)
    assert found is not None
    assert (found.picture, found.picture.media_type) == (Picture.JPEG, "image/jpeg")


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["jpeg", "png"])
def test_what_is_cut_off_within_its_header_is_none_wherever(data: bytes) -> None:
    known = [is_cover(data[:length]) for length in range(len(data))]
    # From some length on its header is whole.
    assert known == sorted(known)
    assert not any(known[:20])


@given(head=st.sampled_from([b"", b"\xff\xd8\xff", PNG[:16]]), rest=st.binary(max_size=200))
def test_no_bytes_are_too_odd(head: bytes, rest: bytes) -> None:
    found = cover_of("t", head + rest)
    assert found is None or max(found.width, found.height) <= COVER_PIXELS
