"""A song's picture in a stem's file: how each container holds it.

MP3 (ID3's APIC), FLAC (PICTURE) and M4A (covr) take it as a stream of one packet, which FFmpeg
calls an attached picture; Ogg takes FLAC's block as a comment in Base64, as Xiph's rules for
Vorbis comments have it.  WAV holds none.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import av
from av.stream import Disposition

from shared.blobs import track_cover_key
from shared.contracts.audio import AudioFormat, Cover, Picture
from shared.errors import TerminalError
from shared.separation.identity import picture_id

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

    from shared.blobs import BlockingBlobs

_CODECS: Final = {Picture.JPEG: "mjpeg", Picture.PNG: "png"}
#: The comment of an Ogg stream that holds a picture.
_COMMENT: Final = "METADATA_BLOCK_PICTURE"
#: A picture's type by ID3 and FLAC: the front cover.
_FRONT: Final = 3
#: Bits of a pixel, for the block's reader to plan by.
_DEPTH: Final = 24


class Artwork(NamedTuple):
    """A picture and what is known of it."""

    cover: Cover
    data: bytes


def artwork_of(blobs: BlockingBlobs, cover: Cover | None) -> Artwork | None:
    """A song's picture; None if there is none, or not the one that it should be."""
    if cover is None:
        return None
    try:
        data = blobs.get_range(track_cover_key(cover), 0, cover.bytes)
    except TerminalError as exc:  # a store that is away is waited for
        print(f"the picture is left out: {exc}", flush=True)  # noqa: T201 - a child's log is its output
        return None
    return Artwork(cover, data) if picture_id(data) == cover.id else None


def embed(
    container: OutputContainer, stream: AudioStream, audio_format: AudioFormat, art: Artwork
) -> None:
    """Put the picture into a file of which nothing has been written yet."""
    cover, data = art
    if audio_format is AudioFormat.OPUS:
        stream.metadata[_COMMENT] = b64encode(_block(cover, data)).decode()
    elif audio_format.holds_picture:
        picture = container.add_mux_stream(
            _CODECS[cover.picture], rate=1, width=cover.width, height=cover.height
        )
        picture.disposition = Disposition.attached_pic
        packet = av.Packet(data)
        packet.stream = picture
        packet.pts = packet.dts = 0
        packet.time_base = Fraction(1, 90_000)
        packet.is_keyframe = True
        container.mux(packet)


def _block(cover: Cover, data: bytes) -> bytes:
    """FLAC's block of a picture (RFC 9639, 8.8)."""
    media_type = cover.picture.media_type.encode()
    return b"".join(
        (
            struct.pack(">II", _FRONT, len(media_type)),
            media_type,
            struct.pack(">I", 0),  # no description
            struct.pack(">IIIII", cover.width, cover.height, _DEPTH, 0, len(data)),
            data,
        )
    )
