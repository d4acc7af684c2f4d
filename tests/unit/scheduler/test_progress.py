"""How far a job is, in percent, and when it will be done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.progress import Speeds, expected, reached
from shared.contracts.audio import SAMPLE_RATE
from shared.contracts.job import Job, Phase
from tests.support import jobs
from tests.support.jobs import NOW, done

#: A job of three chunks and of 60 seconds.
MINUTE = replace(jobs.track(), frames=60 * SAMPLE_RATE)


def test_the_first_window_is_out() -> None:
    assert jobs.out(jobs.separating()) == ["0", "1"]


@pytest.mark.parametrize(
    ("job", "fractions", "percent"),
    [
        (jobs.pending(), {}, 0.0),
        (jobs.pending(), {"source": 0.5}, 0.0),
        (jobs.scheduled(), {}, 0.0),
        (jobs.downloading(), {}, 0.0),
        (jobs.downloading(), {"source": 0.5}, 15.0),
        (jobs.downloading(), {"source": 1.0}, 30.0),
        (jobs.downloading(), {"0": 1.0}, 0.0),
        (jobs.preparing(), {}, 30.0),
        (jobs.preparing(), {"prepare": 0.9}, 30.0),
        (jobs.separating(), {}, 30.0),
        (jobs.separating(), {"0": 0.5}, 40.0),
        (jobs.separating(), {"0": 0.5, "1": 0.25}, 45.0),
        (jobs.separating(), {"2": 1.0}, 30.0),
        (jobs.separating(1), {}, 50.0),
        (jobs.separating(1), {"0": 1.0}, 50.0),
        (jobs.separating(1), {"1": 0.5}, 60.0),
        (jobs.separating(2), {"2": 0.5}, 80.0),
        (jobs.finalizing(), {}, 90.0),
        (jobs.finalizing(), {"stems": 0.25}, 92.5),
        (jobs.finalizing(), {"stems": 7.0}, 100.0),
        (jobs.completed(), {}, 100.0),
        (jobs.broken(), {}, 50.0),
    ],
)
def test_percent(job: Job, fractions: dict[str, float], percent: float) -> None:
    assert percent == pytest.approx(reached(job, fractions))


def processing(phase: Phase, chunks_done: int = 0) -> Job:
    return replace(jobs.separating(min(2, chunks_done)), phase=phase, track=MINUTE)


@pytest.mark.parametrize(
    ("percent", "speeds", "seconds"),
    [
        # 60 s of audio at 2 s a second and slot.
        (30.0, Speeds(separation=2.0), 30.0),
        (60.0, Speeds(separation=2.0), 15.0),
        (90.0, Speeds(separation=2.0), 0.0),
        (30.0, Speeds(separation=2.0, slots=2), 15.0),
        # More slots than chunks help no further.
        (30.0, Speeds(separation=2.0, slots=9), 10.0),
        # Encoding 60 s at 10 s a second comes on top, and less of it the more of it is done.
        (30.0, Speeds(separation=2.0, finalization=10.0), 36.0),
        (95.0, Speeds(separation=2.0, finalization=10.0), 3.0),
        (100.0, Speeds(separation=2.0, finalization=10.0), 0.0),
        # Before the download is done, all of the separation lies ahead.
        (10.0, Speeds(separation=2.0), 30.0),
    ],
)
def test_when_it_will_be_done(percent: float, speeds: Speeds, seconds: float) -> None:
    job = processing(Phase.SEPARATION)
    eta = expected(job, NOW, percent, speeds)
    assert eta is not None
    assert seconds == pytest.approx((eta - NOW) / timedelta(seconds=1))


def test_chunks_that_are_left_bound_the_slots_that_help() -> None:
    job = replace(
        processing(Phase.SEPARATION), units={"0": done(), "1": done(), "2": jobs.ordered()}
    )
    eta = expected(job, NOW, 70.0, Speeds(separation=2.0, slots=4))
    assert NOW + timedelta(seconds=10) == eta


@pytest.mark.parametrize(
    ("job", "speeds"),
    [
        (jobs.downloading(), Speeds(separation=2.0)),
        (jobs.separating(), Speeds()),
        (jobs.separating(), Speeds(finalization=9.0)),
        (jobs.completed(), Speeds(separation=2.0)),
        (jobs.broken(), Speeds(separation=2.0)),
        (jobs.retried(), Speeds(separation=2.0)),
    ],
)
def test_where_nothing_was_measured_nothing_is_promised(job: Job, speeds: Speeds) -> None:
    assert expected(job, NOW, 50.0, speeds) is None
