"""How near a stem is to what was mixed: BSS Eval v4 as museval computes it, and SI-SDR."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import Struct

from shared.contracts.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.audio import Audio

#: Seconds of a frame of BSS Eval, as in the SiSEC campaigns; the median of the frames counts.
_FRAME: Final = 1


class Score(Struct, frozen=True, kw_only=True):
    """Decibels; more is better."""

    sdr: float
    sir: float
    sar: float
    si_sdr: float


class Scores:
    """Measures (vocals, accompaniment) against what they should be."""

    def __init__(self) -> None:
        self._metrics = _metrics()

    def of(self, wanted: tuple[Audio, Audio], got: tuple[Audio, Audio]) -> tuple[Score, ...]:
        """A score for each stem; all are (frames, 2)."""
        sdr, _, sir, sar, _ = self._metrics.bss_eval(
            np.stack(wanted).astype(np.float64),
            np.stack(got).astype(np.float64),
            window=_FRAME * SAMPLE_RATE,
            hop=_FRAME * SAMPLE_RATE,
        )
        return tuple(
            Score(
                sdr=_median(sdr[stem]),
                sir=_median(sir[stem]),
                sar=_median(sar[stem]),
                si_sdr=round(si_sdr(wanted[stem], got[stem]), 2),
            )
            for stem in range(len(wanted))
        )


def si_sdr(wanted: Audio, got: Audio) -> float:
    """Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019; in dB."""
    target, estimate = wanted.ravel().astype(np.float64), got.ravel().astype(np.float64)
    scaled = target * ((target @ estimate) / (target @ target))
    return float(10 * np.log10((scaled @ scaled) / np.square(estimate - scaled).sum()))


def _median(frames: NDArray[np.float64]) -> float:
    return round(float(np.nanmedian(frames)), 2)


def _metrics() -> Any:  # noqa: ANN401 - museval ships no types
    """The metrics of museval without the package around them.

    ``import museval`` reads a data set's files, too, and refuses to without an ffmpeg binary.
    """
    package = importlib.util.find_spec("museval")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("museval is missing: pip install -c constraints.txt -e '.[bench]'")
    place = Path(package.submodule_search_locations[0]) / "metrics.py"
    spec = importlib.util.spec_from_file_location("museval_metrics", place)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{place} can't be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
