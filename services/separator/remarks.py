"""What a listener should know about a result of ``dsp``: what it had to go by, what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from shared.contracts.audio import Remark
from shared.contracts.models import DSP

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Energy of the side channel by that of the middle one, Σ(L-R)² / Σ(L+R)²: -60 dB is what a
#: lossy encoder leaves of a mono recording, -20 dB a band that all but stands in one place.
MONO: Final = 1e-6
NARROW: Final = 1e-2
#: How far below the song its vocals are hardly anything, in LU: its model's own noise.
FAINT: Final = 20.0


def faint(model: str, song: float | None, vocals: float | None) -> tuple[Remark, ...]:
    """What to say of vocals that are so loud, in LUFS; None is below what can be measured."""
    if model != DSP or song is None:
        return ()
    return (Remark.DSP_FAINT,) if vocals is None or vocals < song - FAINT else ()


class Width:
    """Adds up a track as it streams by; the same for any cut of it into blocks, but rounding."""

    def __init__(self) -> None:
        self._middle = 0.0
        self._side = 0.0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take in the next (frames, 2) samples."""
        left, right = samples[:, 0].astype(np.float64), samples[:, 1].astype(np.float64)
        # Not finite, and so no remark: a broken track has other troubles.
        with np.errstate(invalid="ignore"):
            self._middle += float(np.square(left + right).sum())
            self._side += float(np.square(left - right).sum())

    def remarks(self, model: str) -> tuple[Remark, ...]:
        """What to say of a result of ``model``; nothing of other models', nor of silence."""
        if model != DSP or not self._middle + self._side:
            return ()
        if self._side <= MONO * self._middle:
            return (Remark.DSP_MONO,)
        if self._side <= NARROW * self._middle:
            return (Remark.DSP_NARROW,)
        return ()
