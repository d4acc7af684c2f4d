"""The picture that a file of music carries in its tags, as it lies there.  For hostile input."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import av
from av.stream import Disposition

from services.downloader.covers import is_cover

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer

#: Packets that are looked through: what is in the tags comes before the sound.
_PACKETS: Final = 32


def attached_picture(container: InputContainer) -> bytes | None:
    """The first picture that a player could show; None if there is none.

    ``container`` must not have been read from.  A file whose pictures are broken has none.
    """
    if not any(_attached(stream) for stream in container.streams):
        return None
    try:
        return next((data for data in _pictures(container) if is_cover(data)), None)
    except av.FFmpegError:
        return None


def _pictures(container: InputContainer) -> Iterator[bytes]:
    for packet in islice(container.demux(), _PACKETS):
        if _attached(packet.stream):
            yield bytes(packet)


def _attached(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
