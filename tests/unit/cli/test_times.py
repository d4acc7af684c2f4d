"""Moments and spans, read and told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from services.cli.times import duration, moment

#: A quarter to midnight on this machine's clock.
NOW = datetime(2026, 5, 4, 23, 45).astimezone()

SPANS = {
    "in 2h": timedelta(hours=2),
    "in 1h 30m": timedelta(hours=1, minutes=30),
    "in 1h30m": timedelta(hours=1, minutes=30),
    "in 90s": timedelta(seconds=90),
    "in 1.5 hours": timedelta(minutes=90),
    "in 2 days": timedelta(days=2),
    "  in 10 minutes, 5 seconds ": timedelta(minutes=10, seconds=5),
}


@pytest.mark.parametrize("text", SPANS)
def test_a_span_counts_from_now(text: str) -> None:
    assert moment(text, NOW) == NOW + SPANS[text]


def test_a_clock_s_time_is_the_next_time_that_it_shows_it() -> None:
    assert moment("23:50", NOW) == NOW + timedelta(minutes=5)
    assert moment("23:45", NOW) == datetime(2026, 5, 5, 23, 45).astimezone()
    assert moment("6:05", NOW) == datetime(2026, 5, 5, 6, 5).astimezone()
    assert moment("23:45:30", NOW) == NOW + timedelta(seconds=30)


def test_iso_8601_is_taken_with_its_zone_or_with_this_machine_s() -> None:
    there = timezone(timedelta(hours=9))
    assert moment("2026-12-24T18:00+09:00") == datetime(2026, 12, 24, 18, tzinfo=there)
    assert moment("2026-12-24T18:00") == datetime(2026, 12, 24, 18).astimezone()
    assert moment("2026-12-24") == datetime(2026, 12, 24).astimezone()


@pytest.mark.parametrize(
    "text",
    ["", "soon", "in", "in 2", "in two hours", "in -2h", "25:00", "12:60", "in 99999999999d", "2h"],
)
def test_what_names_no_time_is_said_to(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment(text, NOW)


DURATIONS = {
    -1.0: "0 s",
    45.4: "45 s",
    89.0: "89 s",
    600.0: "10 min",
    7_200.0: "2 h",
    7_800.0: "2 h 10 min",
    200_000.0: "2 days",
}


@pytest.mark.parametrize("seconds", DURATIONS)
def test_a_duration_is_told_in_its_largest_unit(seconds: float) -> None:
    assert duration(seconds) == DURATIONS[seconds]
