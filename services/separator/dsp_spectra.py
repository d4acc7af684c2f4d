"""Spectra of a wave and back, and the medians along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How many values a median is of, and the exchanges that find it (Smith, "Implementing median
#: filters in XC4000E FPGAs", 1996).  Whole planes are exchanged at once: many times quicker
#: than a sort for every bin, and the same on every device.
TAPS: Final = 9
_EXCHANGES: Final = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


class Transform(nn.Module):
    """A short-time Fourier transform with a Hann window: (frames,) → (bins, times)."""

    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size = size
        self.hop = hop
        # Not part of the state: it follows from the size.
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """The spectra of ``wave``."""
        return torch.stft(
            wave,
            self.size,
            self.hop,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )

    def back(self, spectra: Tensor, frames: int) -> Tensor:
        """The wave of ``spectra``, ``frames`` long."""
        return torch.istft(spectra, self.size, self.hop, window=self.window, length=frames)


def median(planes: Sequence[Tensor]) -> Tensor:
    """The median of nine equally large tensors, element by element."""
    if len(planes) != TAPS:
        raise ValueError(f"a median of {TAPS}, not of {len(planes)}")
    found = list(planes)
    for low, high in _EXCHANGES:
        smaller = torch.minimum(found[low], found[high])
        found[high] = torch.maximum(found[low], found[high])
        found[low] = smaller
    return found[TAPS // 2]


def along_time(magnitude: Tensor) -> Tensor:
    """The median of nine neighbours in time; (bins, times) → same."""
    times = magnitude.shape[-1]
    reach = TAPS // 2
    padded = functional.pad(magnitude[None], (reach, reach), mode="replicate")[0]
    return median([padded[:, step : step + times] for step in range(TAPS)])


def along_frequency(magnitude: Tensor) -> Tensor:
    """Likewise of neighbours in frequency."""
    return along_time(magnitude.T).T
