"""Which waiting jobs start now."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.dispatch import Capacity, choose, chunk_window
from shared.contracts.job import Job, Phase
from shared.contracts.work import UNIT_SOURCE, Stage
from tests.support import jobs
from tests.support.jobs import NOW, live


def room(downloads: int = 9, separations: int = 1, processing: int = 9) -> Capacity:
    return Capacity(download_slots=downloads, separate_slots=separations, max_processing=processing)


def waiting(job_id: str, minute: int = 0, phase: Phase | None = None) -> Job:
    at = NOW + timedelta(minutes=minute)
    return replace(jobs.pending(), id=job_id, created_at=at, phase=phase)


def running(job_id: str, phase: Phase) -> Job:
    return replace(jobs.separating(), id=job_id, phase=phase)


def test_nobody_waits() -> None:
    assert choose([], room()) == []


def test_who_came_first_is_served_first_and_ids_settle_a_draw() -> None:
    crowd = [waiting("c", 2), waiting("b", 1), waiting("z", 0), waiting("a", 1)]
    assert choose(crowd, room()) == ["z", "a", "b", "c"]


@pytest.mark.parametrize(
    ("slots", "started"), [(0, []), (1, ["a"]), (2, ["a", "b"]), (5, ["a", "b", "c"])]
)
def test_a_download_needs_a_slot(slots: int, started: list[str]) -> None:
    crowd = [waiting(name, minute) for minute, name in enumerate("abc")]
    assert started == choose(crowd, room(downloads=slots))


def test_a_download_under_way_takes_its_slot() -> None:
    crowd = [running("r", Phase.DOWNLOAD), waiting("a"), waiting("b")]
    assert choose(crowd, room(downloads=2)) == ["a"]


def test_a_download_that_waits_for_its_next_attempt_takes_no_slot() -> None:
    pausing = live(jobs.downloading(), jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE))
    assert choose([pausing, waiting("a"), waiting("b")], room(downloads=1)) == ["a"]


@pytest.mark.parametrize("phase", [Phase.SEPARATION, Phase.FINALIZATION])
def test_what_is_past_its_download_takes_no_slot_and_needs_none(phase: Phase) -> None:
    crowd = [running("r", phase), waiting("a"), waiting("b", 1, phase)]
    assert choose(crowd, room(downloads=1)) == ["a", "b"]
    assert choose(crowd, room(downloads=0)) == ["b"]


def test_a_resumed_download_needs_a_slot() -> None:
    assert choose([waiting("a", 0, Phase.DOWNLOAD)], room(downloads=0)) == []


def test_who_has_to_wait_for_a_slot_does_not_hold_up_who_has_not() -> None:
    crowd = [waiting("a"), waiting("b", 1), waiting("c", 2, Phase.SEPARATION)]
    assert choose(crowd, room(downloads=1)) == ["a", "c"]


@pytest.mark.parametrize(("limit", "started"), [(0, []), (2, []), (3, ["a"]), (4, ["a", "b"])])
def test_no_more_jobs_are_processing_than_allowed(limit: int, started: list[str]) -> None:
    crowd = [
        running("r", Phase.SEPARATION),
        running("s", Phase.FINALIZATION),
        waiting("a"),
        waiting("b", 1, Phase.SEPARATION),
    ]
    assert started == choose(crowd, room(processing=limit))


def test_what_has_ended_or_waits_for_its_time_is_left_alone() -> None:
    crowd = [jobs.scheduled(), jobs.completed(), jobs.broken(), jobs.cancelled()]
    assert choose(crowd, room()) == []


@pytest.mark.parametrize(("slots", "window"), [(0, 2), (1, 2), (2, 3), (8, 9)])
def test_the_window_keeps_every_slot_busy_and_the_next_chunk_at_hand(
    slots: int, window: int
) -> None:
    assert window == chunk_window(room(separations=slots))
