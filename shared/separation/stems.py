"""From summed contributions to stems: undo the normalization, derive what is derived.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shared.contracts.audio import Plan, Track
from shared.separation.windows import is_derived, normalization, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


class Block(NamedTuple):
    """Some frames of the track, taken apart."""

    start: int
    #: (frames, channels) each.
    mix: NDArray[np.float32]
    stems: dict[str, NDArray[np.float32]]


def stems_of(
    plan: Plan,
    track: Track,
    mix: NDArray[np.float32],
    sums: Mapping[str, NDArray[np.float32]],
    wanted: Iterable[str],
) -> dict[str, NDArray[np.float32]]:
    """The ``wanted`` stems of some frames, (frames, channels) each.

    ``mix`` is the track there; ``sums`` are all contributions of the sources, still normalized.
    """
    mean, scale = (np.float32(number) for number in normalization(track))
    sources = {name: one * scale + mean for name, one in sums.items()}
    made: dict[str, NDArray[np.float32]] = {}
    for stem in wanted:
        source = sources[source_of(stem, plan.sources)]
        made[stem] = mix - source if is_derived(stem, plan) else source
    return made
