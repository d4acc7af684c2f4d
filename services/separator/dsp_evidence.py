"""What speaks for a voice in a bin of a spectrum, as log odds from -6 to 6; 0 says nothing.

- *level*: how much stronger the middle is than the sides;
- *place*: how much of the middle is no image of what is at the sides, by their coherence
  (Avendano, "Frequency-domain source identification and manipulation in stereo mixes",
  WASPAA 2003);
- *novelty*: what exceeds the median of the most similar other spectra (REPET-SIM: Rafii & Pardo,
  "Music/voice separation using the similarity matrix", ISMIR 2012);
- *tone*: what lasts, against what is a stroke: the median along time against that along
  frequency in short spectra (Fitzgerald, "Harmonic/percussive separation using median
  filtering", DAFx 2010).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from services.separator.dsp_spectra import (
    TAPS,
    Transform,
    along_frequency,
    along_time,
    median,
)

#: Below any sound, and what keeps a division by nothing from being one.
TINY: Final = 1e-10
#: No evidence is certain.
_MOST: Final = 6.0
#: Spectra in time that levels and coherence are smoothed over: a single bin's say little.
_SMOOTH: Final = 3
#: A spectrum is compared with those at least this far away: a sustained note is no repetition.
_APART: Final = 43
#: Spectra whose similar ones are gathered at once: they are many times a spectrum's size.
_GATHERED: Final = 64


def gather(
    wave: Tensor, middle: Tensor, side: Tensor, *, main: Transform, short: Transform
) -> Tensor:
    """All of it: (kinds, bins, times), kinds as in the module's list.

    ``wave`` is the middle channel (frames,), ``middle`` and ``side`` are spectra of ``main``.
    """
    power, apart = middle.abs().square(), side.abs().square()
    return torch.stack(
        (
            _odds(smooth(power, _SMOOTH), smooth(apart, _SMOOTH)),
            _place(middle, side),
            _novelty((power + apart).sqrt()),
            _tone(wave, middle, main, short),
        )
    )


def smooth(bins: Tensor, times: int) -> Tensor:
    """The mean over so many neighbours in time; (bins, times) → same."""
    return functional.avg_pool1d(bins, times, stride=1, padding=times // 2, count_include_pad=False)


def _odds(voice: Tensor, rest: Tensor) -> Tensor:
    return ((voice + TINY).log() - (rest + TINY).log()).clamp(-_MOST, _MOST)


def _place(middle: Tensor, side: Tensor) -> Tensor:
    """What of the middle's power the side's can't explain, against what it can."""
    power = smooth(middle.abs().square(), _SMOOTH)
    apart = smooth(side.abs().square(), _SMOOTH)
    cross = middle * side.conj()
    shared = smooth(cross.real, _SMOOTH).square() + smooth(cross.imag, _SMOOTH).square()
    explained = shared / (apart + TINY)
    return _odds((power - explained).clamp(min=0), explained)


def _novelty(magnitude: Tensor) -> Tensor:
    """What the similar spectra don't explain, against what they do; (bins, times) → same."""
    times = magnitude.shape[-1]
    # Every spectrum needs nine that are far enough away.
    if times < 2 * _APART + TAPS:
        return torch.zeros_like(magnitude)
    # Compressed, so that one loud bass note does not decide what is similar.
    feature = functional.normalize(magnitude.sqrt(), dim=0)
    likeness = feature.T @ feature
    index = torch.arange(times, device=magnitude.device)
    near = (index[:, None] - index[None, :]).abs() < _APART
    best = likeness.masked_fill(near, -1.0).topk(TAPS, dim=1).indices
    rows = magnitude.T.contiguous()
    parts = torch.split(best, _GATHERED)
    background = torch.cat([median([rows[part[:, tap]] for tap in range(TAPS)]) for part in parts])
    explained = torch.minimum(background.T, magnitude)
    return _odds((magnitude - explained).square(), explained.square())


def _tone(wave: Tensor, middle: Tensor, main: Transform, short: Transform) -> Tensor:
    """What lasts in the ``short`` spectra against what strikes, in the bins of the main ones."""
    spectra = short(wave)
    magnitude = spectra.abs()
    lasts, strikes = along_time(magnitude).square(), along_frequency(magnitude).square()
    lasting = main(short.back(spectra * lasts / (lasts + strikes + TINY), wave.shape[-1]))
    return _odds(lasting.abs().square(), (middle - lasting).abs().square())
