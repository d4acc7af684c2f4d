"""How fast jobs leave: what a queue's length means in seconds."""

from __future__ import annotations

import pytest

from services.scheduler.pace import (
    LONGEST_WAIT,
    MEMORY_SECONDS,
    REMEMBERED,
    SHORTEST_WAIT,
    UNKNOWN_WAIT,
    Pace,
)


def paced(*ends: float, run: float = 10.0) -> Pace:
    pace = Pace()
    for end in ends:
        pace.ended(end, run)
    return pace


@pytest.mark.parametrize("ends", [(), (5.0,)])
def test_fewer_than_two_ends_make_no_rate(ends: tuple[float, ...]) -> None:
    assert (paced(*ends).rate(10.0), paced(*ends).wait_for(3, 10.0)) == (None, UNKNOWN_WAIT)


@pytest.mark.parametrize(
    ("ends", "now", "rate"),
    [
        ((0.0, 10.0), 10.0, 0.1),
        ((0.0, 10.0, 20.0), 20.0, 0.1),
        ((0.0, 5.0, 20.0), 20.0, 0.1),
        # As long as the next one may still be on time, nothing is slower.
        ((0.0, 10.0), 20.0, 0.1),
        # Then it is.
        ((0.0, 10.0), 30.0, 0.05),
        ((0.0, 10.0), 10.0 + MEMORY_SECONDS - 10.0, 1 / 890.0),
        # What is too old is forgotten.
        ((0.0, 10.0), 11.0 + MEMORY_SECONDS, None),
        ((-2000.0, 0.0, 10.0), 10.0, 0.1),
        # Two at the same moment make no endless rate.
        ((3.0, 3.0), 3.0, 1000.0),
    ],
)
def test_the_rate_is_that_of_the_newest_ends(
    ends: tuple[float, ...], now: float, rate: float | None
) -> None:
    assert paced(*ends).rate(now) == (None if rate is None else pytest.approx(rate))


def test_ends_that_are_remembered_are_bounded() -> None:
    pace = paced(*range(1000))
    assert pace.rate(999.0) == pytest.approx(1.0)
    assert len(pace._ends) == REMEMBERED


@pytest.mark.parametrize(
    ("places", "seconds"),
    [(1, 10.0), (3, 30.0), (0, SHORTEST_WAIT), (10_000, LONGEST_WAIT)],
)
def test_a_wait_is_as_long_as_so_many_places_take(places: int, seconds: float) -> None:
    assert seconds == paced(0.0, 10.0).wait_for(places, 10.0)


def test_a_wait_is_whole_seconds_rounded_up() -> None:
    assert paced(0.0, 3.3).wait_for(1, 3.3) == 4.0


def test_run_times_are_a_running_mean() -> None:
    pace = paced(0.0, run=10.0)
    assert pace.run_seconds == 10.0
    pace.ended(1.0, 20.0)
    assert pace.run_seconds == pytest.approx(12.0)


def test_the_end_of_what_never_ran_tells_nothing() -> None:
    pace = paced(0.0, 10.0)
    pace.ended(11.0, None)
    assert pace.rate(11.0) == pytest.approx(0.1)
    assert pace.run_seconds == 10.0
