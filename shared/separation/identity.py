"""What a result is called: the same song, model and wishes give the same name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.contracts.audio import AudioFormat, Metadata, Plan, Track

#: Part of every result's id: raise it when the same parameters begin to give other files.
RESULT_VERSION: Final = 2


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
    )
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:32]
