"""Where a waiting job stands: whole tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from services.gateway.places import QUEUE_SECONDS, Place, Places, place_of, placed
from shared.contracts.job import Phase, Status
from shared.contracts.live import Pause, Queue
from shared.contracts.request import Source
from shared.contracts.snapshot import Snapshot, snapshot
from shared.contracts.work import Stage
from shared.errors import Code
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW
from tests.unit.gateway.conftest import Clock

WAITING = snapshot(jobs.pending())
QUEUE = Queue(at=NOW, order=("j0", JOB), waiting=2)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("index", "rate", "run_seconds", "position", "starts_at", "eta"),
    [
        (None, 0.5, 60.0, None, None, None),
        (0, None, None, 1, None, None),
        (0, None, 60.0, 1, None, None),
        (0, 0.5, None, 1, NOW, None),
        (0, 0.5, 60.0, 1, NOW, after(60)),
        (1, 0.5, 60.0, 2, after(2), after(62)),
        (4999, 0.5, 60.0, 5000, after(9998), after(10058)),
        # What is no pace gives no estimate, and none lies years ahead.
        (1, 0.0, 60.0, 2, None, None),
        (1, -1.0, 60.0, 2, None, None),
        (1, 1e-300, 60.0, 2, None, None),
        (1, 1e-9, 60.0, 2, None, None),
        (1, 0.5, 1e300, 2, after(2), None),
        (1, float("nan"), 60.0, 2, None, None),
    ],
)
def test_a_place_and_what_follows_from_the_pace(
    index: int | None,
    rate: float | None,
    run_seconds: float | None,
    position: int | None,
    starts_at: datetime | None,
    eta: datetime | None,
) -> None:
    queue = replace(QUEUE, rate=rate, run_seconds=run_seconds)
    seen = placed(WAITING, index, queue, NOW)
    assert place_of(seen) == Place(
        id=JOB, position=position, starts_at=starts_at, eta=eta, waits_for=None
    )


def test_nothing_starts_in_the_past() -> None:
    queue = replace(QUEUE, rate=0.5, run_seconds=60.0)
    seen = placed(WAITING, 1, queue, after(10))
    assert (seen.starts_at, seen.eta) == (after(10), after(70))


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_only_who_waits_has_a_place(status: Status) -> None:
    seen = snapshot(jobs.OF_STATUS[status]())
    assert seen == placed(seen, 0, replace(QUEUE, rate=1.0, stalled=Code.STORAGE_LOW), NOW)


@pytest.mark.parametrize(
    "seen", [replace(WAITING, held=True), replace(WAITING, follows="j2")], ids=["held", "follows"]
)
def test_who_is_held_or_follows_another_has_no_place(seen: Snapshot) -> None:
    assert seen == placed(seen, 0, replace(QUEUE, stalled=Code.STORAGE_LOW), NOW)


@pytest.mark.parametrize(
    ("stalled", "hindered", "code"),
    [
        (None, {}, None),
        (Code.STORAGE_LOW, {}, Code.STORAGE_LOW),
        (None, {JOB: Code.SOURCE_SITE_PAUSED}, Code.SOURCE_SITE_PAUSED),
        (Code.STORAGE_LOW, {JOB: Code.SOURCE_SITE_PAUSED}, Code.SOURCE_SITE_PAUSED),
        (None, {"j0": Code.SOURCE_SITE_PAUSED}, None),
        (Code.SERVICE_NO_WORKERS, {"j0": Code.SOURCE_SITE_PAUSED}, Code.SERVICE_NO_WORKERS),
    ],
)
def test_what_stands_in_the_way_is_said(
    stalled: Code | None, hindered: dict[str, Code], code: Code | None
) -> None:
    seen = placed(WAITING, 1, replace(QUEUE, stalled=stalled, hindered=hindered), NOW)
    assert code == (seen.waits_for and seen.waits_for.code)
    assert seen.position == 2
    if seen.waits_for:
        assert seen.waits_for.retryable
        assert seen.waits_for.hint


def test_one_beyond_the_listed_may_be_stalled_all_the_same() -> None:
    seen = placed(WAITING, None, replace(QUEUE, stalled=Code.STORAGE_LOW), NOW)
    assert (seen.position, seen.waits_for and seen.waits_for.code) == (None, Code.STORAGE_LOW)


def pause(site: str) -> Pause:
    return Pause(site=site, until=LATER, code=Code.SOURCE_RATE_LIMITED)


UNTIL = "until 2026-05-04 04:02:01Z"


@pytest.mark.parametrize(
    ("url", "sites", "detail"),
    [
        ("https://example.org/a", ["example.org", "Youtube"], f"example.org {UNTIL}"),
        ("https://EXAMPLE.org/a", ["example.org"], f"example.org {UNTIL}"),
        ("https://www.youtube.com/w", ["example.org", "Youtube"], f"Youtube {UNTIL}"),
        ("https://www.youtube.com/w", ["youtube:tab"], f"youtube:tab {UNTIL}"),
        ("https://youtu.be/w", ["Youtube"], f"Youtube {UNTIL}"),
        ("https://a.example/w", ["s1", "s2", "s3", "s4"], f"s1 {UNTIL}; s2 {UNTIL}; s3 {UNTIL}"),
        ("https://a.example/w", [], ""),
        (None, ["Youtube"], f"Youtube {UNTIL}"),
    ],
)
def test_a_paused_site_is_named_and_until_when(
    url: str | None, sites: list[str], detail: str
) -> None:
    source = Source(url=url) if url else Source(upload="u1")
    queue = replace(
        QUEUE,
        hindered={JOB: Code.SOURCE_SITE_PAUSED},
        pauses=tuple(pause(site) for site in sites),
    )
    seen = placed(replace(WAITING, source=source), 0, queue, NOW)
    assert seen.waits_for is not None
    assert seen.waits_for.detail == detail


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("absent", [(), (Stage.DOWNLOAD,), tuple(Stage)])
def test_what_is_processed_waits_for_workers_that_are_not_there(
    phase: Phase, absent: tuple[Stage, ...]
) -> None:
    stage = {
        Phase.DOWNLOAD: Stage.DOWNLOAD,
        Phase.SEPARATION: Stage.SEPARATE,
        Phase.FINALIZATION: Stage.FINALIZE,
    }[phase]
    running = replace(snapshot(jobs.separating()), phase=phase)
    seen = placed(running, None, replace(QUEUE, absent=absent), NOW)
    assert (seen.waits_for is not None) == (stage in absent)
    assert running == replace(seen, waits_for=None)


def test_what_was_told_long_ago_tells_nothing_any_more(clock: Clock) -> None:
    places = Places(now=lambda: NOW, steady=clock)
    assert (places.newest, places.placed(WAITING)) == (None, WAITING)
    places.heard(QUEUE)
    assert (places.newest, places.placed(WAITING).position) == (QUEUE, 2)
    clock.now = QUEUE_SECONDS
    assert places.placed(WAITING).position == 2
    clock.now = QUEUE_SECONDS + 0.1
    assert (places.newest, places.placed(WAITING)) == (None, WAITING)
    places.heard(replace(QUEUE, order=(JOB,)))
    assert places.placed(WAITING).position == 1


def test_times_are_in_the_zone_that_they_were_told_in() -> None:
    seen: Snapshot = placed(WAITING, 0, replace(QUEUE, rate=1.0), NOW)
    assert seen.starts_at is not None
    assert seen.starts_at.tzinfo == UTC
