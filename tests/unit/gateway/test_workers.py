"""The workers there are: by stage, as long as they are heard."""

from __future__ import annotations

from msgspec.structs import replace

from services.gateway.workers import Workers
from shared.contracts.live import GONE_SECONDS, Beat
from shared.contracts.work import Stage
from shared.errors import Code
from tests.unit.gateway.conftest import Clock

BEAT = Beat(worker="w1", stage=Stage.SEPARATE, slots=2, busy=1, device="cuda", speeds={"dsp": 9.0})


def names(workers: Workers) -> list[tuple[str, str]]:
    return [(one.stage.value, one.worker) for one in workers.there()]


def test_one_process_may_be_a_worker_of_two_stages(clock: Clock) -> None:
    workers = Workers(clock)
    workers.heard(BEAT)
    workers.heard(replace(BEAT, stage=Stage.FINALIZE))
    workers.heard(replace(BEAT, worker="d1", stage=Stage.DOWNLOAD))
    assert names(workers) == [("download", "d1"), ("finalize", "w1"), ("separate", "w1")]


def test_a_newer_beat_takes_the_place_of_an_older(clock: Clock) -> None:
    workers = Workers(clock)
    workers.heard(BEAT)
    clock.now = 3.24
    workers.heard(replace(BEAT, busy=2, ailment=Code.STORAGE_LOW))
    clock.now = 5.0
    (one,) = workers.there()
    assert (one.slots, one.busy, one.device, one.speeds) == (2, 2, "cuda", {"dsp": 9.0})
    assert (one.ailment, one.seen_seconds_ago) == (Code.STORAGE_LOW, 1.8)


def test_who_has_said_goodbye_or_fallen_silent_is_not_there(clock: Clock) -> None:
    workers = Workers(clock)
    workers.heard(BEAT)
    workers.heard(replace(BEAT, worker="w2"))
    workers.heard(replace(BEAT, leaving=True))
    assert names(workers) == [("separate", "w2")]
    clock.now = GONE_SECONDS + 0.1
    assert names(workers) == []
    workers.heard(BEAT)
    assert names(workers) == [("separate", "w1")]
