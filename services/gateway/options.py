"""Whether some model can do what is asked for.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shared.contracts.audio import INSTRUMENTAL, VOCALS
from shared.contracts.models import AUTO, AUTO_CANDIDATES
from shared.contracts.request import Options
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.gateway.requests import OptionsRequest
    from shared.contracts.live import ModelOffer

#: Most stems that one job may ask for by name.
MAX_STEMS: Final = 16
#: Most shifts: each costs a whole run over the song, and beyond ten hardly anything is gained
#: (demucs's own documents speak of 0.2 dB of SDR for ten).
MAX_SHIFTS: Final = 10


def admit_options(
    asked: OptionsRequest, offers: Mapping[str, ModelOffer], *, complete: bool
) -> Options:
    """The options, if some model can fulfil them.

    While it is not known what separators have (``complete`` is False, or a model's sources are
    empty), what can't be refused for sure is let through: the separator has the last word.
    """
    try:
        options = msgspec.convert(
            {name: getattr(asked, name) for name in asked.__struct_fields__}, Options
        )
    except msgspec.ValidationError as exc:
        raise TerminalError(Code.REQUEST_MALFORMED, f"options: {exc}") from exc
    if not 0 <= options.shifts <= MAX_SHIFTS:
        detail = f"options.shifts: 0 to {MAX_SHIFTS}, not {options.shifts}"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    if len(options.stems) > MAX_STEMS or len(set(options.stems)) != len(options.stems):
        raise TerminalError(Code.REQUEST_MALFORMED, "options.stems: name each stem once")
    if options.model != AUTO and options.model not in offers:
        if complete or not TOKEN.match(options.model):
            raise TerminalError(Code.MODEL_UNKNOWN, options.model[:64])
        return options
    names = AUTO_CANDIDATES if options.model == AUTO else (options.model,)
    candidates = [offers[name] for name in names if name in offers]
    if not all(offer.sources for offer in candidates):
        return options
    made = {stem for offer in candidates for stem in stems_of(offer)}
    for stem in options.stems:
        if stem not in made:
            detail = f"{stem[:64]!r}; {options.model} makes {', '.join(sorted(made))}"
            raise TerminalError(Code.MODEL_NO_SUCH_STEM, detail)
    return options


def stems_of(offer: ModelOffer) -> tuple[str, ...]:
    """Every stem that a model can deliver, the derived one included."""
    derived = (INSTRUMENTAL,) if VOCALS in offer.sources else ()
    return (*offer.sources, *(stem for stem in derived if stem not in offer.sources))
