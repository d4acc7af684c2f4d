"""What things are called by what they hold: a track, a result, a picture."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.contracts.audio import AudioFormat, Metadata, Plan, Track

#: Part of every result's id: raise it when the same parameters begin to give other files.
RESULT_VERSION: Final = 3

#: Bytes of a picture's hash, and of a track's.
_PICTURE_BYTES: Final = 16
_TRACK_BYTES: Final = 20
#: Bytes of the hash of what a chunk was computed from.
_HEARD_BYTES: Final = 16


def picture_id(data: bytes) -> str:
    """The id of a picture: the hash of its bytes."""
    return hashlib.blake2b(data, digest_size=_PICTURE_BYTES).hexdigest()


def track_hash() -> hashlib.blake2b:
    """What a track's PCM is put through; its id is what comes out, in hexadecimal."""
    return hashlib.blake2b(digest_size=_TRACK_BYTES)


def heard_hash() -> hashlib.blake2b:
    """What the frames are put through that a chunk is computed from."""
    return hashlib.blake2b(digest_size=_HEARD_BYTES)


def result_id(track: Track, plan: Plan, audio_format: AudioFormat, metadata: Metadata) -> str:
    """The id of a result: the hash of the track, what computed it, and how it is written down.

    How the track was cut into chunks is no part of it: any cut gives the same stems.
    """
    grid = ";".join(
        f"{','.join(map(str, one.members))}@{one.start}/{one.segment}" for one in plan.passes
    )
    parts = (
        RESULT_VERSION,
        track.id,
        plan.digest,
        grid,
        plan.precision.value,
        ",".join(plan.stems),
        audio_format.value,
        # As literals: a title may say anything, "None" and line breaks too.
        repr(metadata.title),
        repr(metadata.artist),
        *((metadata.cover.id,) if metadata.cover and audio_format.holds_picture else ()),
    )
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:32]
