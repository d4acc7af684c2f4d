"""What is held against each other: the mix itself, each kind of evidence alone, all of it."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from services.separator.dsp import Balance, Dsp, Weights
from tests.benchmarks.dsp_before import Before

#: Everything is the voice: what a method says where it knows nothing.
_BLIND: Final = Weights(prior=6.0)
_REPETITION: Final = Weights(novelty=0.44, prior=0.64)
_STROKES: Final = Weights(tone=0.76, prior=-1.64)


class Unprocessed(nn.Module):
    """Gives the mix for both stems: what every gain is counted from."""

    def forward(self, mix: Tensor) -> Tensor:
        """(batch, 2, frames) → (batch, 2, 2, frames)."""
        return mix[:, None].expand(-1, 2, -1, -1)


def methods() -> dict[str, nn.Module]:
    """By name, in the order of the table.

    Each one alone has weights fitted for it alone, but for the centre's second look: its prior
    was chosen by hand.
    """
    centre = Balance(
        first=Weights(level=0.67, place=0.55, prior=-1.27),
        wide=Weights(place=0.55, prior=1.5),
        narrow=_BLIND,
    )
    repetition = Balance(wide=_REPETITION, narrow=_REPETITION, cancels=False)
    strokes = Balance(wide=_STROKES, narrow=_STROKES, cancels=False)
    return {
        "mix": Unprocessed(),
        "centre": Dsp(centre),
        "repetition": Dsp(repetition),
        "strokes": Dsp(strokes),
        "version 1": Before(),
        "combined": Dsp(),
    }
