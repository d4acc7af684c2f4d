"""The models everyone knows by name; separators may have more, and say so in their heartbeats."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Leaves the choice to the separator.
AUTO: Final = "auto"
#: The built-in model that needs no weights.
DSP: Final = "dsp"
DSP_SOURCES: Final = ("vocals", "instrumental")

_FOUR: Final = ("drums", "bass", "other", "vocals")
#: demucs's published models and their sources (demucs/remote/*.yaml and the model cards).
PUBLISHED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "htdemucs": _FOUR,
        "htdemucs_ft": _FOUR,
        "htdemucs_6s": (*_FOUR, "guitar", "piano"),
        "hdemucs_mmi": _FOUR,
        "mdx": _FOUR,
        "mdx_extra": _FOUR,
        "mdx_q": _FOUR,
        "mdx_extra_q": _FOUR,
    }
)
#: What ``auto`` tries, in this order.
AUTO_CANDIDATES: Final = ("htdemucs", "htdemucs_6s", DSP)
#: Published models whose weights are quantized: only with the package diffq.
QUANTIZED: Final = frozenset({"mdx_q", "mdx_extra_q"})
