"""The workers there are, as their heartbeats tell."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.scheduler.fleet import NEWEST_WEIGHT, Fleet
from shared.contracts.live import GONE_SECONDS, Beat
from shared.contracts.work import Stage

SEPARATOR = Beat(worker="w1", stage=Stage.SEPARATE, slots=2, busy=1, speeds={"htdemucs": 2.0})


def test_an_empty_fleet_has_no_slots_and_no_speeds() -> None:
    fleet = Fleet()
    assert (
        fleet.slots(Stage.SEPARATE, 0.0),
        fleet.separation_speed("htdemucs"),
        fleet.finalization_speed,
    ) == (0, None, None)


def test_slots_are_counted_by_stage_and_once_a_worker() -> None:
    fleet = Fleet()
    for now in (0.0, 1.0):
        fleet.heard(SEPARATOR, now)
        fleet.heard(replace(SEPARATOR, worker="w2", slots=3), now)
        # One process may bear the same name in two stages.
        fleet.heard(replace(SEPARATOR, stage=Stage.FINALIZE, slots=1), now)
    assert {stage: fleet.slots(stage, 1.0) for stage in Stage} == {
        Stage.DOWNLOAD: 0,
        Stage.SEPARATE: 5,
        Stage.FINALIZE: 1,
    }


@pytest.mark.parametrize(("later", "slots"), [(0.0, 2), (GONE_SECONDS, 2), (GONE_SECONDS + 0.1, 0)])
def test_a_worker_whose_heart_has_stopped_is_gone(later: float, slots: int) -> None:
    fleet = Fleet()
    fleet.heard(SEPARATOR, 5.0)
    assert slots == fleet.slots(Stage.SEPARATE, 5.0 + later)


def test_a_worker_that_leaves_is_gone_at_once() -> None:
    fleet = Fleet()
    fleet.heard(SEPARATOR, 0.0)
    fleet.heard(replace(SEPARATOR, leaving=True), 0.1)
    assert fleet.slots(Stage.SEPARATE, 0.1) == 0


def test_a_newer_beat_takes_the_place_of_an_older() -> None:
    fleet = Fleet()
    fleet.heard(SEPARATOR, 0.0)
    fleet.heard(replace(SEPARATOR, slots=7), 1.0)
    assert fleet.slots(Stage.SEPARATE, 1.0) == 7


def test_a_model_s_speed_is_the_mean_of_those_who_measured_it() -> None:
    fleet = Fleet()
    fleet.heard(SEPARATOR, 0.0)
    fleet.heard(replace(SEPARATOR, worker="w2", speeds={"htdemucs": 4.0, "dsp": 50.0}), 0.0)
    fleet.heard(replace(SEPARATOR, worker="w3", speeds={}), 0.0)
    assert {model: fleet.separation_speed(model) for model in ("htdemucs", "dsp", "mdx")} == {
        "htdemucs": 3.0,
        "dsp": 50.0,
        "mdx": None,
    }


def test_who_is_gone_is_forgotten() -> None:
    fleet = Fleet()
    fleet.heard(SEPARATOR, 0.0)
    fleet.heard(replace(SEPARATOR, worker="w2", speeds={}), GONE_SECONDS + 1)
    assert fleet.separation_speed("htdemucs") is None


def test_finalization_s_speed_follows_what_is_measured() -> None:
    fleet = Fleet()
    fleet.finalized(60.0, 0.0)
    assert fleet.finalization_speed is None
    fleet.finalized(60.0, 6.0)
    assert fleet.finalization_speed == 10.0
    fleet.finalized(60.0, 3.0)
    assert fleet.finalization_speed == 10.0 + NEWEST_WEIGHT * 10.0
