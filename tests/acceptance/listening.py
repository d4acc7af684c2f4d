"""What is in an audio file, as another player would hear it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np

from shared.contracts.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.audio import Audio


class Heard(NamedTuple):
    """A decoded file."""

    #: (frames, 2) at 44.1 kHz.
    samples: Audio
    codec: str
    tags: dict[str, str]


def hear(file: bytes | Path) -> Heard:
    """Decode the first audio stream of a file."""
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE)
        pieces = []
        for frame in container.decode(stream):
            frame.pts = None
            pieces += [part.to_ndarray() for part in resampler.resample(frame)]
        pieces += [part.to_ndarray() for part in resampler.resample(None)]
        samples = np.concatenate(pieces, axis=1).T.astype(np.float32)
        return Heard(samples, stream.codec_context.name, container.metadata | stream.metadata)
