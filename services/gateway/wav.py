"""16-bit stereo as a WAV file that can be sent while it is made.  Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.contracts.audio import CHANNELS, SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS: Final = 16
#: Bytes of one frame, two samples of 16 bits.
WAV_FRAME_BYTES: Final = CHANNELS * _BITS // 8
#: RIFF, fmt and data chunk headers as Microsoft's "Multimedia Programming Interface" (1991) has
#: them: no sizes but two depend on what follows.
_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM: Final = 1
#: What stands for 1.0; decoders divide by the same.
_FULL_SCALE: Final = 1 << (_BITS - 1)


def wav_bytes(frames: int) -> int:
    """The length of a whole file of that many frames."""
    return _HEADER.size + frames * WAV_FRAME_BYTES


def wav_header(frames: int) -> bytes:
    """What comes before the samples of that many frames."""
    payload = frames * WAV_FRAME_BYTES
    return _HEADER.pack(
        b"RIFF",
        wav_bytes(frames) - 8,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        CHANNELS,
        SAMPLE_RATE,
        SAMPLE_RATE * WAV_FRAME_BYTES,
        WAV_FRAME_BYTES,
        _BITS,
        b"data",
        payload,
    )


def wav_samples(samples: NDArray[np.float32]) -> bytes:
    """``samples``, (frames, channels), rounded to 16 bits; what is louder than 1.0 is cut off."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    whole: NDArray[np.int16] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return whole.tobytes()
