"""``dsp``: a separator without weights, with the surface of a demucs model.

A voice in a song is usually in the middle of the stereo image, does not repeat, and sounds for
longer than a stroke; the accompaniment is spread out, repeats, and has drums.  What each of
these says about a bin of an STFT is ``dsp_evidence``; how it is weighed is here:

1. The evidence is added up as log odds, as a naive Bayes classifier does: one strong sign for
   the voice outweighs a weak one against it, which a product of masks never lets it.
2. That gives a first voice, and so a weight for the least squares fit of what the side channel
   has of the middle channel: a source panned to one place is the same in both but for a factor
   (Avendano, WASPAA 2003; weighted as in Duong et al., IEEE TASLP 2010).  It is taken out.
3. What is left in the middle is weighed again.

Where there is no side channel, steps 1 and 2 have nothing to go by; the weights for a narrow
window lean on repetition and strokes instead.  No randomness anywhere.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import torch
from torch import Tensor, nn

from services.separator.dsp_evidence import TINY, gather, smooth
from services.separator.dsp_spectra import Transform
from shared.contracts.audio import CHANNELS, SAMPLE_RATE
from shared.contracts.models import DSP_SOURCES

_FFT: Final = 4096
_HOP: Final = 1024
#: Hz between which the voice mask rises from 0 to 1.
_LOW_HZ: Final = (90.0, 160.0)
#: Share of the side channel in the energy from which a window counts as wholly stereo.
_WIDE: Final = 0.001
#: Spectra in time that a place is fitted over, and how sure the fit must be to count: the
#: voice that it is fitted against is at least so much of the middle channel.
_FIT: Final = 9
_FIT_FLOOR: Final = 0.01
_FIT_DOUBT: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each kind of evidence counts for; the order is that of ``dsp_evidence.gather``."""

    level: float = 0.0
    place: float = 0.0
    novelty: float = 0.0
    tone: float = 0.0
    #: Log odds of a voice before anything is known.
    prior: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The weights of the first look, and of the second where there is a side channel or none.

    Fitted by least squares to the made mixes of ``tests/support/mixes.py`` with other seeds
    than those that are measured, then rounded and simplified by hand.
    """

    first: Weights = Weights(level=0.5, place=0.75, novelty=0.3, tone=0.35, prior=-2.0)
    wide: Weights = Weights(place=0.5, novelty=0.3, tone=0.55, prior=1.0)
    narrow: Weights = Weights(novelty=0.35, tone=0.6, prior=-0.8)
    #: Whether what is panned is taken out of the middle between the two.
    cancels: bool = True


class Dsp(nn.Module):
    """Takes (batch, 2, frames), gives (batch, 2 sources, 2, frames): vocals and the rest.

    The two add up to the input.  The voice is the same in both channels.
    """

    #: Goes into the model's digest: raise it whenever the output changes.
    version: Final = 2

    low_cut: Tensor

    def __init__(self, balance: Balance | None = None) -> None:
        super().__init__()
        self.sources = list(DSP_SOURCES)
        self.samplerate = SAMPLE_RATE
        self.audio_channels = CHANNELS
        #: Seconds: long enough for a few bars to repeat.
        self.segment = 12.0
        self.balance = balance or Balance()
        self.transform = Transform(_FFT, _HOP)
        #: Strokes show in short spectra.
        self.short = Transform(1024, 256)
        hertz = torch.arange(_FFT // 2 + 1) * (SAMPLE_RATE / _FFT)
        low, high = _LOW_HZ
        self.register_buffer("low_cut", ((hertz - low) / (high - low)).clamp(0.0, 1.0)[:, None])

    def valid_length(self, _length: int) -> int:
        """A whole window: the track's cut-off last one gets the real audio before it, too."""
        return int(self.segment * self.samplerate)

    def forward(self, mix: Tensor) -> Tensor:
        """Separate ``mix``."""
        return torch.stack([self._separate(one) for one in mix])

    def _separate(self, mix: Tensor) -> Tensor:
        """(2, frames) → (2 sources, 2, frames)."""
        wave = (mix[0] + mix[1]) / 2
        middle = self.transform(wave)
        side = self.transform((mix[0] - mix[1]) / 2)
        evidence = gather(wave, middle, side, main=self.transform, short=self.short)
        width = _width(middle, side)
        if self.balance.cancels:
            voice = middle * self._mask(evidence, _row(self.balance.first, width))
            middle = middle - _panned(middle, side, voice)
        weights = width * _row(self.balance.wide, width)
        weights = weights + (1 - width) * _row(self.balance.narrow, width)
        vocals = self.transform.back(middle * self._mask(evidence, weights), mix.shape[-1])
        vocals = vocals.expand_as(mix)
        return torch.stack((vocals, mix - vocals))

    def _mask(self, evidence: Tensor, weights: Tensor) -> Tensor:
        """Voice share of each bin; evidence (kinds, bins, times), weights (kinds + 1,)."""
        odds = torch.tensordot(weights[:-1], evidence, dims=1) + weights[-1]
        share: Tensor = odds.sigmoid() * self.low_cut
        return share


def _row(weights: Weights, like: Tensor) -> Tensor:
    return torch.tensor(astuple(weights), dtype=like.dtype, device=like.device)


def _width(middle: Tensor, side: Tensor) -> Tensor:
    """How much there is to go by in the stereo image: 0 for mono, 1 for a usual song."""
    apart = side.abs().square().sum()
    share = apart / (middle.abs().square().sum() + apart + TINY)
    return (share / _WIDE).clamp(max=1.0)


def _panned(middle: Tensor, side: Tensor, voice: Tensor) -> Tensor:
    """The part of ``middle`` that the ``side`` channel explains, by a factor for each bin.

    A bin where the voice is strong says little about the factor and counts the less.
    """
    power = middle.abs().square()
    noise = smooth(voice.abs().square(), 3) + _FIT_FLOOR * smooth(power, _FIT) + TINY
    cross = torch.view_as_real(middle * side.conj()) / noise[..., None]
    both = torch.stack([smooth(part, _FIT) for part in cross.unbind(-1)], dim=-1)
    known = smooth(side.abs().square() / noise, _FIT) + _FIT_DOUBT
    return torch.view_as_complex(both / known[..., None]) * side
