"""Whether some model can do what is asked for: whole tables."""

from __future__ import annotations

import pytest

from services.gateway.catalogue import KNOWN
from services.gateway.options import MAX_SHIFTS, MAX_STEMS, admit_options, stems_of
from services.gateway.requests import OptionsRequest
from shared.contracts.audio import AudioFormat, Precision
from shared.contracts.live import ModelOffer
from shared.contracts.request import Options
from shared.errors import Code, TerminalError


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (OptionsRequest(), Options()),
        (OptionsRequest(model="dsp"), Options(model="dsp")),
        (
            OptionsRequest(model="htdemucs", stems=["drums", "instrumental"], format="opus"),
            Options(model="htdemucs", stems=("drums", "instrumental"), format=AudioFormat.OPUS),
        ),
        (
            OptionsRequest(format="wav32f", precision="fast", shifts=MAX_SHIFTS, reuse=False),
            Options(
                format=AudioFormat.WAV32F, precision=Precision.FAST, shifts=MAX_SHIFTS, reuse=False
            ),
        ),
        (OptionsRequest(format="wav16"), Options(format=AudioFormat.WAV16)),
        # Some model makes it: which one is the separator's choice.
        (OptionsRequest(stems=["guitar"]), Options(stems=("guitar",))),
    ],
)
def test_options_that_some_model_can_fulfil(asked: OptionsRequest, options: Options) -> None:
    assert options == admit_options(asked, KNOWN, complete=True)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (OptionsRequest(model=""), Code.MODEL_UNKNOWN),
        (OptionsRequest(model="hf://evil/model"), Code.MODEL_UNKNOWN),
        (OptionsRequest(model="../htdemucs"), Code.MODEL_UNKNOWN),
        (OptionsRequest(format="exe"), Code.REQUEST_MALFORMED),
        (OptionsRequest(format="FLAC"), Code.REQUEST_MALFORMED),
        (OptionsRequest(precision="half"), Code.REQUEST_MALFORMED),
        (OptionsRequest(precision=""), Code.REQUEST_MALFORMED),
        (OptionsRequest(shifts=-1), Code.REQUEST_MALFORMED),
        (OptionsRequest(shifts=MAX_SHIFTS + 1), Code.REQUEST_MALFORMED),
        (OptionsRequest(stems=["vocals", "vocals"]), Code.REQUEST_MALFORMED),
        (
            OptionsRequest(stems=[str(number) for number in range(MAX_STEMS + 1)]),
            Code.REQUEST_MALFORMED,
        ),
        (OptionsRequest(stems=["kazoo"]), Code.MODEL_NO_SUCH_STEM),
        (OptionsRequest(model="htdemucs", stems=["guitar"]), Code.MODEL_NO_SUCH_STEM),
        (OptionsRequest(model="dsp", stems=["drums"]), Code.MODEL_NO_SUCH_STEM),
    ],
)
def test_options_that_no_model_can_fulfil(asked: OptionsRequest, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_options(asked, KNOWN, complete=True)
    assert code == caught.value.code


@pytest.mark.parametrize(
    ("model", "complete", "code"),
    [
        ("own", True, Code.MODEL_UNKNOWN),
        ("own", False, None),
        ("hf://evil/model", False, Code.MODEL_UNKNOWN),
        ("../own", False, Code.MODEL_UNKNOWN),
        ("unseen", True, None),
    ],
)
def test_what_can_t_be_refused_for_sure_is_the_separator_s_to_decide(
    model: str, *, complete: bool, code: Code | None
) -> None:
    offers = {**KNOWN, "unseen": ModelOffer(name="unseen", sources=(), ready=True)}
    asked = OptionsRequest(model=model, stems=["kazoo"])
    if code is None:
        options = Options(model=model, stems=("kazoo",))
        assert options == admit_options(asked, offers, complete=complete)
        return
    with pytest.raises(TerminalError) as caught:
        admit_options(asked, offers, complete=complete)
    assert code == caught.value.code


@pytest.mark.parametrize("name", ["htdemucs", "htdemucs_6s", "dsp"])
def test_every_stem_on_offer_can_be_asked_for(name: str) -> None:
    for stem in stems_of(KNOWN[name]):
        asked = OptionsRequest(model=name, stems=[stem])
        assert (stem,) == admit_options(asked, KNOWN, complete=True).stems


@pytest.mark.parametrize(
    ("sources", "stems"),
    [
        (("drums", "vocals"), ("drums", "vocals", "instrumental")),
        (("vocals", "instrumental"), ("vocals", "instrumental")),
        (("drums", "bass"), ("drums", "bass")),
    ],
)
def test_the_instrumental_can_be_had_wherever_there_are_vocals(
    sources: tuple[str, ...], stems: tuple[str, ...]
) -> None:
    assert stems == stems_of(ModelOffer(name="m", sources=sources, ready=True))
