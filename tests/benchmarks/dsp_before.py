"""Version 1 of ``dsp``, to measure what was won since: two masks, multiplied."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.contracts.audio import CHANNELS, SAMPLE_RATE
from shared.contracts.models import DSP_SOURCES

_FFT: Final = 4096
_HOP: Final = 1024
#: A frame is compared with frames at least this far away (a sustained note is no repetition).
_APART: Final = 43
#: How many similar frames the repeating background is the median of.
_SIMILAR: Final = 12
#: Exponent of the centre mask: the higher, the narrower the middle.
_CENTRE_POWER: Final = 6.0
#: Hz between which the voice mask rises from 0 to 1.
_LOW_HZ: Final = (90.0, 160.0)
_TINY: Final = 1e-10


class Before(nn.Module):
    """Takes (batch, 2, frames), gives (batch, 2 sources, 2, frames): vocals and the rest.

    The two add up to the input.  A frame's voice share is centre x novelty x range.
    """

    #: Goes into the model's digest: raise it whenever the output changes.
    version: Final = 1

    window: Tensor
    low_cut: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.sources = list(DSP_SOURCES)
        self.samplerate = SAMPLE_RATE
        self.audio_channels = CHANNELS
        #: Seconds: long enough for a few bars to repeat.
        self.segment = 12.0
        self.register_buffer("window", torch.hann_window(_FFT))
        hertz = torch.arange(_FFT // 2 + 1) * (SAMPLE_RATE / _FFT)
        low, high = _LOW_HZ
        self.register_buffer("low_cut", ((hertz - low) / (high - low)).clamp(0.0, 1.0))

    def valid_length(self, _length: int) -> int:
        """A whole window: the track's cut-off last one gets the real audio before it, too."""
        return int(self.segment * self.samplerate)

    def forward(self, mix: Tensor) -> Tensor:
        """Separate ``mix``."""
        return torch.stack([self._separate(one) for one in mix])

    def _separate(self, mix: Tensor) -> Tensor:
        """(2, frames) → (2 sources, 2, frames)."""
        frames = mix.shape[-1]
        spectrum = torch.stft(
            mix, _FFT, _HOP, window=self.window, pad_mode="constant", return_complex=True
        )
        voice = _centre(spectrum) * _novelty(spectrum.abs().mean(dim=0)) * self.low_cut[:, None]
        vocals = torch.istft(spectrum * voice, _FFT, _HOP, window=self.window, length=frames)
        return torch.stack((vocals, mix - vocals))


def _centre(spectrum: Tensor) -> Tensor:
    """How much a bin belongs to the middle, 0 to 1; spectrum (2, bins, times) → (bins, times).

    2·Re(L·R*) / (|L|² + |R|²) is 1 for equal channels, 0 for one-sided or unrelated ones.
    """
    left, right = spectrum[0], spectrum[1]
    cross = (left * right.conj()).real
    power = left.abs().square() + right.abs().square()
    # Smoothed a little in time: a single bin's phase says little.
    cross, power = _smooth(cross), _smooth(power)
    return (2 * cross / (power + _TINY)).clamp(0.0, 1.0).pow(_CENTRE_POWER)


def _smooth(bins: Tensor) -> Tensor:
    return functional.avg_pool1d(bins, 3, stride=1, padding=1, count_include_pad=False)


def _novelty(magnitude: Tensor) -> Tensor:
    """Share of each bin that the similar frames don't explain, 0 to 1; (bins, times) → same."""
    times = magnitude.shape[-1]
    similar = min(_SIMILAR, times // _APART - 1)
    if similar < 1:
        return torch.ones_like(magnitude)
    # Compressed, so that one loud bass note does not decide what is similar.
    feature = functional.normalize(magnitude.sqrt(), dim=0)
    likeness = feature.T @ feature
    index = torch.arange(times, device=magnitude.device)
    near = (index[:, None] - index[None, :]).abs() < _APART
    likeness = likeness.masked_fill(near, -1.0)
    best = likeness.topk(similar, dim=1).indices
    # In slices of frames: the gathered frames are many times the spectrum's size.
    background = torch.cat(
        [magnitude[:, part].median(dim=-1).values for part in torch.split(best, 64)], dim=1
    )
    background = torch.minimum(background, magnitude)
    rest = (magnitude - background).square()
    return rest / (rest + background.square() + _TINY)
