"""Leaving a site alone that has refused us, and it alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.breaker import (
    REMEMBERED,
    Breaker,
    BreakerLimits,
    Sites,
    host_of,
    refused,
    site_of,
)
from shared.contracts.facts import Downloaded, Failed
from shared.contracts.job import Job
from shared.contracts.live import Pause
from shared.contracts.problem import Problem
from shared.contracts.request import Source
from shared.contracts.work import UNIT_SOURCE, Stage
from shared.errors import Code, RetryableError, TerminalError
from tests.support import jobs
from tests.support.jobs import METADATA, NOW

LIMITS = BreakerLimits(refusals=3, first_pause=30.0, longest_pause=900.0)
REFUSED = Problem.of(TerminalError(Code.SOURCE_REFUSED, "403"))


def slow_down(asked: float | None = None) -> Problem:
    return Problem.of(RetryableError(Code.SOURCE_RATE_LIMITED, "429", retry_after=asked))


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def job(url: str = "https://www.tube.example/1", name: str = "j1") -> Job:
    return replace(jobs.downloading(), id=name, source=Source(url=url))


def got(extractor: str = "tube") -> Downloaded:
    return replace(jobs.downloaded(), metadata=replace(METADATA, extractor=extractor))


def no(problem: Problem = REFUSED, site: str | None = None) -> Failed:
    return replace(jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE, problem=problem), site=site)


def seconds_alone(breaker: Breaker, now: datetime = NOW) -> float | None:
    return None if breaker.until is None else (breaker.until - now).total_seconds()


def test_refusals_open_it_only_several_in_a_row() -> None:
    breaker = Breaker()
    told = []
    for _ in range(3):
        breaker = refused(breaker, REFUSED, NOW, LIMITS)
        told.append((breaker.refusals, breaker.open(NOW), seconds_alone(breaker)))
    assert told == [(1, False, None), (2, False, None), (3, True, 30.0)]


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 30.0), (5.0, 30.0), (120.0, 120.0), (9999.0, 900.0)]
)
def test_one_slow_down_opens_it_for_as_long_as_was_asked(
    asked: float | None, seconds: float
) -> None:
    breaker = refused(Breaker(), slow_down(asked), NOW, LIMITS)
    assert (True, seconds) == (breaker.open(NOW), seconds_alone(breaker))
    assert breaker.code == Code.SOURCE_RATE_LIMITED


def test_each_pause_is_twice_as_long_as_the_one_before_up_to_the_longest() -> None:
    breaker, now, pauses = Breaker(refusals=2), NOW, []
    for _ in range(7):
        breaker = refused(breaker, REFUSED, now, LIMITS)
        pauses.append(seconds_alone(breaker, now))
        assert breaker.until is not None
        now = breaker.until
        assert (breaker.open(now), breaker.half_open) == (False, True)
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0]


@pytest.mark.parametrize(
    ("problem", "seconds"),
    [
        (REFUSED, 30.0),
        (slow_down(), 30.0),
        (slow_down(10.0), 30.0),
        (slow_down(100.0), 110.0),
        (slow_down(9999.0), 910.0),
    ],
)
def test_what_was_on_its_way_when_it_opened_makes_no_further_pause(
    problem: Problem, seconds: float
) -> None:
    breaker = refused(Breaker(), slow_down(), NOW, LIMITS)
    again = refused(breaker, problem, later(10.0), LIMITS)
    assert (1, seconds) == (again.pauses, seconds_alone(again))


def sites(*said: Failed) -> Sites:
    known = Sites(LIMITS)
    for fact in said:
        known.learn(job(), fact, NOW)
    return known


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.tube.example/1", "www.tube.example"),
        ("https://Tube.example:8443/1", "tube.example"),
        (None, None),
    ],
)
def test_a_song_comes_from_a_host_or_was_uploaded(url: str | None, host: str | None) -> None:
    source = Source(url=url) if url else Source(upload="u1")
    assert host == host_of(replace(job(), source=source))


@pytest.mark.parametrize(
    ("extractor", "site"),
    [("youtube", "youtube"), ("generic", "h"), ("Generic", "h"), ("upload", "h"), (None, "h")],
)
def test_an_extractor_stands_for_a_site_unless_it_is_none_s_in_particular(
    extractor: str | None, site: str
) -> None:
    assert site == site_of("h", extractor)


def test_a_refusal_by_an_extractor_shuts_all_its_hosts_once_they_are_known() -> None:
    known = Sites(LIMITS)
    known.learn(job("https://a.example/1"), got("tube"), NOW)
    known.learn(job("https://b.example/1"), got("tube"), NOW)
    known.learn(job("https://a.example/2"), no(slow_down(), "tube"), NOW)
    for url, until in (
        ("https://a.example/3", later(30.0)),
        ("https://b.example/3", later(30.0)),
        ("https://c.example/3", None),
    ):
        assert until == known.paused_until(job(url), NOW)
    assert known.pauses(NOW) == (
        Pause(site="tube", until=later(30.0), code=Code.SOURCE_RATE_LIMITED),
    )


def test_a_refusal_by_a_host_shuts_that_host_alone() -> None:
    known = sites(no(slow_down()))
    assert later(30.0) == known.paused_until(job(), NOW)
    assert known.paused_until(job("https://other.example/1"), NOW) is None


def test_uploads_come_from_no_site() -> None:
    known = sites(no(slow_down()))
    upload = replace(job(), source=Source(upload="u1"))
    known.learn(upload, no(slow_down()), NOW)
    assert known.gate([], NOW).lets(upload)
    assert len(known.pauses(NOW)) == 1


@pytest.mark.parametrize(
    "code", [code for code in Code if code not in {Code.SOURCE_REFUSED, Code.SOURCE_RATE_LIMITED}]
)
def test_whatever_else_goes_wrong_is_not_the_site_s_saying_no(code: Code) -> None:
    known = sites(*[no(Problem.of(RetryableError(code)))] * 5)
    assert known.pauses(NOW) == ()


def test_a_success_closes_it_and_refusals_are_counted_anew() -> None:
    known = sites(no(), no())
    known.learn(job(), got("generic"), NOW)
    known.learn(job(), no(), NOW)
    known.learn(job(), no(), NOW)
    assert known.pauses(NOW) == ()
    known.learn(job(), no(), NOW)
    assert len(known.pauses(NOW)) == 1


def test_while_it_is_open_nothing_of_the_site_starts_and_everything_else_does() -> None:
    gate = sites(no(slow_down())).gate([], later(29.0))
    assert not gate.lets(job())
    assert gate.lets(job("https://other.example/1"))
    assert gate.lets(replace(job(), track=jobs.track()))


def test_after_its_pause_one_job_tries_and_no_second_one() -> None:
    known = sites(no(slow_down()))
    gate = known.gate([], later(30.0))
    assert [gate.lets(job(name=name)) for name in ("a", "b")] == [True, False]
    assert not known.gate([job(name="a")], later(31.0)).lets(job(name="b"))
    assert known.gate([job("https://other.example/1")], later(31.0)).lets(job(name="b"))


def test_when_the_one_that_tried_gets_through_all_may() -> None:
    known = sites(no(slow_down()))
    known.learn(job(), got("generic"), later(31.0))
    gate = known.gate([], later(31.0))
    assert [gate.lets(job(name=name)) for name in ("a", "b")] == [True, True]


def test_when_the_one_that_tried_is_refused_the_next_pause_is_twice_as_long() -> None:
    known = sites(no(slow_down()))
    known.learn(job(), no(), later(31.0))
    assert later(91.0) == known.paused_until(job(), later(31.0))
    assert not known.gate([], later(90.0)).lets(job())
    assert known.gate([], later(91.0)).lets(job())


def test_a_pause_that_is_over_is_told_to_nobody() -> None:
    assert sites(no(slow_down())).pauses(later(30.0)) == ()


def test_sites_that_are_remembered_are_bounded() -> None:
    known = Sites(LIMITS)
    for number in range(REMEMBERED + 1):
        known.learn(job(f"https://h{number}.example/1"), no(slow_down()), NOW)
    assert len(known.pauses(NOW)) == REMEMBERED
    assert known.paused_until(job("https://h0.example/1"), NOW) is None
    assert len(known._site_of) == REMEMBERED
