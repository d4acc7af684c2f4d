"""The models on offer: the published ones, and what separators say."""

from __future__ import annotations

from msgspec.structs import replace

from services.gateway.catalogue import DESCRIPTIONS, KNOWN, Catalogue
from shared.contracts.live import GONE_SECONDS, Beat, ModelOffer
from shared.contracts.work import Stage

OWN = ModelOffer(name="own", sources=("vocals", "rest"), ready=True, origin="local")
COLD = replace(KNOWN["htdemucs"], ready=False, origin="cold")
WARM = replace(KNOWN["htdemucs"], ready=True, origin="warm")


class Clock:
    """A steady clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def beat(worker: str, *models: ModelOffer, leaving: bool = False) -> Beat:
    return Beat(
        worker=worker, stage=Stage.SEPARATE, slots=1, busy=0, models=models, leaving=leaving
    )


def test_without_separators_there_are_the_published_models() -> None:
    assert dict(KNOWN) == Catalogue(Clock()).offers()


def test_every_known_model_is_described() -> None:
    assert set(KNOWN) == set(DESCRIPTIONS)


def test_a_separator_s_own_model_is_on_offer_while_it_is_there() -> None:
    clock = Clock()
    catalogue = Catalogue(clock)
    catalogue.heard(beat("w1", OWN))
    assert catalogue.offers()["own"] == OWN
    catalogue.heard(beat("w1", OWN, leaving=True))
    assert "own" not in catalogue.offers()


def test_a_separator_that_has_fallen_silent_is_forgotten_at_another_s_beat() -> None:
    clock = Clock()
    catalogue = Catalogue(clock)
    catalogue.heard(beat("w1", OWN))
    clock.now = GONE_SECONDS + 1
    catalogue.heard(beat("w2"))
    assert "own" not in catalogue.offers()


def test_a_model_is_ready_where_any_separator_has_it() -> None:
    for order in ((COLD, WARM), (WARM, COLD)):
        catalogue = Catalogue(Clock())
        for number, offer in enumerate(order):
            catalogue.heard(beat(f"w{number}", offer))
        assert catalogue.offers()["htdemucs"] == WARM


def test_a_beat_without_models_is_of_another_stage_and_takes_nothing_away() -> None:
    catalogue = Catalogue(Clock())
    assert not catalogue.complete
    catalogue.heard(replace(beat("w1"), stage=Stage.DOWNLOAD))
    assert not catalogue.complete
    catalogue.heard(beat("w1", OWN))
    catalogue.heard(replace(beat("w1"), stage=Stage.FINALIZE))
    assert (catalogue.offers()["own"], catalogue.complete) == (OWN, True)


def test_a_model_that_nobody_has_looked_into_does_not_hide_what_is_known_of_it() -> None:
    catalogue = Catalogue(Clock())
    catalogue.heard(beat("w1", WARM))
    catalogue.heard(beat("w2", replace(WARM, sources=())))
    assert catalogue.offers()["htdemucs"] == WARM


def test_a_newer_beat_takes_the_place_of_an_older() -> None:
    catalogue = Catalogue(Clock())
    catalogue.heard(beat("w1", WARM, OWN))
    catalogue.heard(beat("w1", COLD))
    assert (catalogue.offers()["htdemucs"], "own" in catalogue.offers()) == (COLD, False)
