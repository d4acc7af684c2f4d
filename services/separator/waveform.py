"""The waveform that the web page draws: a few hundred peaks of each stem, as JSON.

``peaks.json`` is ``{"points": N, "seconds": S, "stems": {"mix": [...], "vocals": [...], ...}}``:
for each stem N numbers from 0 to 1, the largest absolute sample of either channel in each of N
equal parts of the track, three decimals.  ``mix`` is the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from shared.contracts.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Enough for a wide screen, few enough to send at once.
POINTS: Final = 1500
#: The original's name among the stems.
MIX: Final = "mix"


class Waveforms(Struct, frozen=True, kw_only=True):
    """The contents of ``peaks.json``."""

    points: int
    seconds: float
    stems: dict[str, list[float]]


class PeakMeter:
    """Measures one signal as it streams by."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        points = min(POINTS, frames)
        self._peaks = np.zeros(points, np.float32)
        #: Point p is frames edges[p] up to edges[p + 1].
        self._edges = np.arange(points + 1, dtype=np.int64) * frames // points

    @property
    def peak(self) -> float:
        """The largest absolute sample so far."""
        return float(self._peaks.max())

    def add(self, start: int, samples: NDArray[np.float32]) -> None:
        """``samples``, (frames, channels), come next, from frame ``start``."""
        # Channel by channel: numpy's max over an axis of two is many times slower.
        loudest = np.maximum(np.abs(samples[:, 0]), np.abs(samples[:, 1]))
        end = start + len(loudest)
        first = int(np.searchsorted(self._edges, start, side="right")) - 1
        last = int(np.searchsorted(self._edges, end, side="left"))
        cuts = np.maximum(self._edges[first:last] - start, 0)
        found = np.maximum.reduceat(loudest, cuts)
        self._peaks[first:last] = np.maximum(self._peaks[first:last], found)

    def drawn(self) -> list[float]:
        """The peaks, 0 to 1."""
        return [round(min(1.0, float(peak)), 3) for peak in self._peaks]


def waveforms(meters: dict[str, PeakMeter], frames: int) -> Waveforms:
    """What the page needs to draw every stem, and the mix."""
    stems = {name: meter.drawn() for name, meter in meters.items()}
    points = min(POINTS, frames)
    return Waveforms(points=points, seconds=round(frames / SAMPLE_RATE, 3), stems=stems)
