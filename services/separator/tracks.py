"""A track's samples, where whoever separates it or puts it together reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.blobs import track_audio_key
from shared.contracts.audio import FRAME_BYTES
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from shared.blobs import BlockingBlobs
    from shared.contracts.audio import Track


def whole_track(blobs: BlockingBlobs, track: Track) -> str:
    """The key of its samples, which are as many as it says.

    ``blob.missing`` or ``blob.corrupt`` if they are not: a store says of a range that begins
    behind the end only that it does not answer.
    """
    key = track_audio_key(track.id)
    if blobs.size(key) != track.frames * FRAME_BYTES:
        raise TerminalError(Code.BLOB_CORRUPT, f"{key}: it has the wrong length")
    return key
