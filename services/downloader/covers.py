"""A song's picture: whether bytes from outside are one, and of what size.  Pure.

Nothing is decoded here: who looks at a picture decodes it where a browser or a player does.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from shared.contracts.audio import Cover, Picture
from shared.separation.identity import picture_id

#: Bytes of the largest picture that is taken: each stem's file holds it.
COVER_BYTES: Final = 4 << 20
#: Pixels of its longer side, and of all of it, at most: what it unpacks to, 64 MB, fits a phone.
COVER_PIXELS: Final = 8192
COVER_AREA: Final = 1 << 24
#: Segments and fill bytes of a JPEG that are stepped over in search of its size.
_STEPS: Final = 4096

_PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_JPEG: Final = b"\xff\xd8\xff"
#: JPEG's markers: starts of frames say the size (ITU-T T.81, table B.1), without DHT, JPG, DAC.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Where the picture's data begins, or ends: no frame follows.
_NO_MORE: Final = frozenset({0xD9, 0xDA})
#: Markers that stand alone.
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


def cover_of(track: str, data: bytes) -> Cover | None:
    """What is known of a track's picture; None if it is none, or too large in bytes or pixels."""
    if not 0 < len(data) <= COVER_BYTES:
        return None
    if data.startswith(_PNG):
        picture, size = Picture.PNG, _png_size(data)
    elif data.startswith(_JPEG):
        picture, size = Picture.JPEG, _jpeg_size(data)
    else:
        return None
    if size is None or not all(0 < side <= COVER_PIXELS for side in size):
        return None
    if size.width * size.height > COVER_AREA:
        return None
    return Cover(
        track=track,
        id=picture_id(data),
        picture=picture,
        bytes=len(data),
        width=size.width,
        height=size.height,
    )


def is_cover(data: bytes) -> bool:
    """Whether it is a picture that is taken."""
    return cover_of("", data) is not None


def _png_size(data: bytes) -> Size | None:
    head = data[len(_PNG) : len(_PNG) + 8]
    return Size(*struct.unpack(">II", head)) if len(head) == 8 else None  # noqa: PLR2004 - of the format


def _jpeg_size(data: bytes) -> Size | None:
    """The size that the first frame's header says."""
    place = 2
    for _ in range(_STEPS):
        if place + 4 > len(data) or data[place] != 0xFF:  # noqa: PLR2004 - every marker begins so
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # noqa: PLR2004 - any number of fill bytes may come before one
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _NO_MORE:
            return None
        elif marker in _FRAMES:
            head = data[place + 5 : place + 9]
            if len(head) < 4:  # noqa: PLR2004 - it is cut off
                return None
            height, width = struct.unpack(">HH", head)
            return Size(width, height)
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None
