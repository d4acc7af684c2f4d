"""Canonical PCM: two channels from any number, and its fingerprint and statistics on the way."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from shared.contracts.audio import CHANNELS
from shared.separation.identity import track_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

#: Frames that are held back until it is known how long the track shall be: a resampler's
#: rounding is off by one or two, so this is plenty.
HELD_FRAMES: Final = 4096
#: Frames that are gathered before they are hashed and written.
BLOCK_FRAMES: Final = 1 << 16
#: What is louder is no sound: 200 dB above full scale, where a file of 32-bit whole numbers that
#: calls them floating-point ones still is below.  Beyond, arithmetic would overflow.
LOUDEST: Final = 1e10
_HALF: Final = math.sqrt(0.5)

#: What a channel gives to left and right: ITU-R BS.775, with the low-frequency channel left out
#: as there.  Names are FFmpeg's.
_SHARES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "FL": (1.0, 0.0),
        "FR": (0.0, 1.0),
        "FC": (_HALF, _HALF),
        "LFE": (0.0, 0.0),
        "LFE2": (0.0, 0.0),
        "BL": (_HALF, 0.0),
        "BR": (0.0, _HALF),
        "BC": (0.5, 0.5),
        "SL": (_HALF, 0.0),
        "SR": (0.0, _HALF),
        "FLC": (1.0, 0.0),
        "FRC": (0.0, 1.0),
        "WL": (1.0, 0.0),
        "WR": (0.0, 1.0),
        "DL": (1.0, 0.0),
        "DR": (0.0, 1.0),
    }
)


def downmix_matrix(channels: Sequence[str]) -> Samples:
    """The (channels, 2) matrix that makes stereo of channels with these FFmpeg names.

    One channel goes to both sides at its full level (FFmpeg's own conversion would take 3 dB
    off), two stay as they are.  More are mixed and scaled so that full scale in every channel
    at once is full scale, as FFmpeg does for integer formats: a loud film must not clip.
    Channels without a known place alternate between left and right.
    """
    if len(channels) == 1:
        return np.ones((1, CHANNELS), np.float32)
    if len(channels) == CHANNELS:
        return np.eye(CHANNELS, dtype=np.float32)
    sides = ((1.0, 0.0), (0.0, 1.0))
    shares = [_SHARES.get(name, sides[i % 2]) for i, name in enumerate(channels)]
    matrix = np.array(shares, np.float32)
    return matrix / max(1.0, float(matrix.sum(axis=0).max()))


def audible(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """``samples`` with silence for what is not a number or beyond ``LOUDEST``."""
    # Comparisons with what is not a number are false.
    if samples.size == 0 or (samples.max() <= LOUDEST and samples.min() >= -LOUDEST):
        return samples
    return np.where(np.abs(samples) <= LOUDEST, samples, samples.dtype.type(0))


class Moments:
    """Mean and standard deviation of a stream, exact to float64 rounding, in constant memory.

    Blocks are merged as in Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise
    algorithm for computing sample variances": no sum of squares that grows and cancels.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Take in another block."""
        count = values.size
        if count == 0:
            return
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
        total = self.count + count
        delta = mean - self.mean
        self._squares += squares + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total

    @property
    def std(self) -> float:
        """The unbiased standard deviation, as ``torch.std``; 0 where there are no two values."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0


class Writer:
    """Writes interleaved little-endian float32 frames, and measures them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = track_hash()
        self._waiting: list[Samples] = []
        self._frames_waiting = 0
        #: Of the mono mix, as demucs normalizes by: ``wav.mean(0)``.
        self.moments = Moments()
        #: Frames given so far, the waiting ones included.
        self.frames = 0

    @property
    def digest(self) -> str:
        """Hash of what was written."""
        return self._hash.hexdigest()

    def add(self, block: Samples) -> None:
        """Take (frames, 2) samples; see ``audible``."""
        self._waiting.append(block)
        self._frames_waiting += len(block)
        self.frames += len(block)
        if self._frames_waiting >= BLOCK_FRAMES + HELD_FRAMES:
            self._flush(keep=HELD_FRAMES)

    def settle(self, frames: int) -> None:
        """Make it exactly ``frames`` long so far: cut off or add silence, within what is held."""
        missing = frames - self.frames
        if missing > 0:
            self.add(np.zeros((missing, CHANNELS), np.float32))
        elif missing < 0:
            kept = np.concatenate(self._waiting)[:missing]
            self.frames -= self._frames_waiting - len(kept)
            self._waiting, self._frames_waiting = [kept], len(kept)

    def finish(self) -> None:
        """Write what is still held."""
        self._flush(keep=0)

    def _flush(self, *, keep: int) -> None:
        if not self._waiting:
            return
        block = audible(np.concatenate(self._waiting))
        ready, kept = block[: len(block) - keep], block[len(block) - keep :]
        data = np.ascontiguousarray(ready, dtype="<f4")
        self._file.write(data.data)
        self._hash.update(data.data)
        self.moments.add(ready.mean(axis=1, dtype=np.float64))
        self._waiting, self._frames_waiting = [kept], len(kept)
