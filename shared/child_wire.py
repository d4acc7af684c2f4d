"""Frames between a parent and its child: a kind, the request's number, a length, a body.

The number is the parent's; every frame of a request's way there and back carries it, so that
several requests can be under way at once.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct(">cII")
#: To the child: a request; the wish that it end.
REQUEST: Final = b"Q"
CANCEL: Final = b"C"
#: To the parent: a report of the child's own, the request's failure, the request's end.
REPORT: Final = b"R"
PROBLEM: Final = b"P"
DONE: Final = b"D"
#: Longest body; messages are small, blobs travel by file.
FRAME_BYTES: Final = 1 << 20


class FrameError(ValueError):
    """A frame that neither end may send."""


def frame(kind: bytes, number: int, body: bytes = b"") -> bytes:
    """The bytes of a frame; ``FrameError`` if the body is longer than ``FRAME_BYTES``."""
    if len(body) > FRAME_BYTES:
        raise FrameError(f"a message of {len(body)} bytes; {FRAME_BYTES} are allowed")
    return HEADER.pack(kind, number, len(body)) + body


def opened(header: bytes, kinds: frozenset[bytes]) -> tuple[bytes, int, int]:
    """Kind, number and length that a header announces; ``FrameError`` if they can't be.

    What follows such a header can't be told from the next one: the conversation is over.
    """
    kind, number, length = HEADER.unpack(header)
    if kind not in kinds:
        raise FrameError(f"a frame of the unknown kind {kind!r}")
    if length > FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes; {FRAME_BYTES} are allowed")
    return kind, number, length
