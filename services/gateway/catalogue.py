"""The models there are: the published ones, and what separators say they have."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from shared.contracts.live import GONE_SECONDS, ModelOffer
from shared.contracts.models import DSP, DSP_SOURCES, PUBLISHED, QUANTIZED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.contracts.live import Beat

#: The published models that need no further package, and our own without weights.  What a
#: separator says of a model goes before what stands here.
KNOWN: Final[Mapping[str, ModelOffer]] = MappingProxyType(
    {
        **{
            name: ModelOffer(name=name, sources=sources, ready=False, origin="published")
            for name, sources in PUBLISHED.items()
            if name not in QUANTIZED
        },
        DSP: ModelOffer(name=DSP, sources=DSP_SOURCES, ready=True, origin="built-in"),
    }
)

#: What each is good for, for people.
DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "htdemucs": "Hybrid Transformer Demucs v4: the best all-rounder.",
        "htdemucs_ft": "htdemucs fine-tuned for each stem: a little better, four times the work.",
        "htdemucs_6s": "htdemucs with guitar and piano as stems of their own; piano is rough.",
        "hdemucs_mmi": "Hybrid Demucs v3, retrained on more music.",
        "mdx": "The MDX challenge's winner on its own data set.",
        "mdx_extra": "The same with more training data: Demucs v3's best.",
        "dsp": "No weights: centre extraction and repetition masks. Rough, quick, always there.",
    }
)


class Catalogue:
    """What can be asked for now."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        #: By worker: its beat as a separator, when it was heard.
        self._heard: dict[str, tuple[float, Beat]] = {}

    def heard(self, beat: Beat) -> None:
        """Take in what a separator offers."""
        now = self._steady()
        if beat.models:
            self._heard[beat.worker] = (now, beat)
        gone = [
            worker
            for worker, (at, known) in self._heard.items()
            if known.leaving or at + GONE_SECONDS < now
        ]
        for worker in gone:
            del self._heard[worker]

    @property
    def complete(self) -> bool:
        """Whether some separator has said what it has."""
        return bool(self._heard)

    def offers(self) -> dict[str, ModelOffer]:
        """Models by name; ready where some separator has it at hand."""
        offers = dict(KNOWN)
        for _, beat in self._heard.values():
            for offer in beat.models:
                known = offers.get(offer.name)
                if known is None or not known.ready or (offer.ready and offer.sources):
                    offers[offer.name] = offer
        return offers
