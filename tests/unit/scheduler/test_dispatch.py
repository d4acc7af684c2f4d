"""Which waiting jobs start now, and in which order all of them will."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.dispatch import Capacity, choose, in_order, level, levelled
from shared.contracts.job import Job, Phase
from shared.contracts.request import Priority, Terms
from shared.contracts.work import UNIT_SOURCE, Stage
from tests.support import jobs
from tests.support.jobs import NOW, live

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

AGEING = 600.0


class Open:
    """A gate that lets everybody in but those named."""

    def __init__(self, *shut: str) -> None:
        self.shut = shut
        self.asked: list[str] = []

    def lets(self, job: Job) -> bool:
        self.asked.append(job.id)
        return job.id not in self.shut


def room(downloads: int = 9, processing: int = 9) -> Capacity:
    return Capacity(download_slots=downloads, separate_slots=1, max_processing=processing)


def waiting(
    job_id: str,
    minute: float = 0,
    phase: Phase | None = None,
    *,
    owner: str = "",
    priority: Priority = Priority.NORMAL,
    deadline: datetime | None = None,
    front: float | None = None,
) -> Job:
    since = NOW + timedelta(minutes=minute)
    return replace(
        jobs.pending(),
        id=job_id,
        created_at=since,
        queued_at=since,
        phase=phase,
        terms=Terms(owner=owner, priority=priority, deadline=deadline),
        front_at=None if front is None else NOW + timedelta(minutes=front),
    )


def running(job_id: str, phase: Phase) -> Job:
    return replace(jobs.separating(), id=job_id, phase=phase)


def chosen(
    crowd: Collection[Job],
    capacity: Capacity,
    processing: Collection[Job] = (),
    *,
    shares: Mapping[str, int] | None = None,
    gate: Open | None = None,
    now: datetime = NOW,
) -> list[str]:
    return choose(
        crowd,
        processing,
        capacity=capacity,
        shares=shares or {},
        gate=gate or Open(),
        now=now,
        ageing=AGEING,
    ).job_ids


def order(*crowd: Job, shares: Mapping[str, int] | None = None, now: datetime = NOW) -> list[str]:
    return [job.id for job in in_order(crowd, shares or {}, now, AGEING)]


def test_nobody_waits() -> None:
    assert chosen([], room()) == []


def test_who_came_first_is_served_first_and_ids_settle_a_draw() -> None:
    crowd = [waiting("c", 2), waiting("b", 1), waiting("z", 0), waiting("a", 1)]
    assert chosen(crowd, room()) == ["z", "a", "b", "c"]


@pytest.mark.parametrize(
    ("slots", "started"), [(0, []), (1, ["a"]), (2, ["a", "b"]), (5, ["a", "b", "c"])]
)
def test_a_download_needs_a_slot(slots: int, started: list[str]) -> None:
    crowd = [waiting(name, minute) for minute, name in enumerate("abc")]
    assert started == chosen(crowd, room(downloads=slots))


def test_a_download_under_way_takes_its_slot() -> None:
    busy = [running("r", Phase.DOWNLOAD)]
    assert chosen([waiting("a"), waiting("b")], room(downloads=2), busy) == ["a"]


def test_a_download_that_waits_for_its_next_attempt_takes_no_slot() -> None:
    pausing = [live(jobs.downloading(), jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE))]
    assert chosen([waiting("a"), waiting("b")], room(downloads=1), pausing) == ["a"]


@pytest.mark.parametrize("phase", [Phase.SEPARATION, Phase.FINALIZATION])
def test_what_is_past_its_download_takes_no_slot_and_needs_none(phase: Phase) -> None:
    crowd, busy = [waiting("a"), waiting("b", 1, phase)], [running("r", phase)]
    assert chosen(crowd, room(downloads=1), busy) == ["a", "b"]
    assert chosen(crowd, room(downloads=0), busy) == ["b"]


def test_a_resumed_download_needs_a_slot() -> None:
    assert chosen([waiting("a", 0, Phase.DOWNLOAD)], room(downloads=0)) == []


def test_who_has_to_wait_for_a_slot_does_not_hold_up_who_has_not() -> None:
    crowd = [waiting("a"), waiting("b", 1), waiting("c", 2, Phase.SEPARATION)]
    assert chosen(crowd, room(downloads=1)) == ["a", "c"]


@pytest.mark.parametrize(("limit", "started"), [(0, []), (2, []), (3, ["a"]), (4, ["a", "b"])])
def test_no_more_jobs_are_processing_than_allowed(limit: int, started: list[str]) -> None:
    crowd = [waiting("a"), waiting("b", 1, Phase.SEPARATION)]
    busy = [running("r", Phase.SEPARATION), running("s", Phase.FINALIZATION)]
    assert started == chosen(crowd, room(processing=limit), busy)


def test_who_the_gate_keeps_out_is_passed_over_and_holds_up_nobody() -> None:
    gate = Open("a")
    assert chosen([waiting("a"), waiting("b", 1)], room(downloads=1), gate=gate) == ["b"]


def test_the_gate_is_asked_only_of_those_who_would_start() -> None:
    gate = Open()
    chosen([waiting("a"), waiting("b", 1), waiting("c", 2)], room(downloads=1), gate=gate)
    assert gate.asked == ["a"]


@pytest.mark.parametrize(
    ("priority", "levels"),
    [
        (Priority.HIGH, [0, 0, 0, 0]),
        (Priority.NORMAL, [1, 1, 0, 0]),
        (Priority.LOW, [2, 2, 1, 0]),
    ],
)
def test_waiting_counts_as_priority(priority: Priority, levels: list[int]) -> None:
    job = waiting("a", priority=priority)
    waited = (-60.0, AGEING - 1, AGEING, 2 * AGEING)
    assert levels == [level(job, NOW + timedelta(seconds=one), AGEING) for one in waited]


def test_waiting_counts_from_when_it_was_last_queued() -> None:
    job = replace(waiting("a", priority=Priority.LOW), created_at=NOW - timedelta(days=1))
    assert level(job, NOW, AGEING) == 2
    assert level(replace(job, queued_at=None), NOW, AGEING) == 0


def test_higher_goes_before_lower_and_within_one_level_the_older_first() -> None:
    crowd = [
        waiting("low", 0, priority=Priority.LOW),
        waiting("normal", 1),
        waiting("high", 3, priority=Priority.HIGH),
        waiting("higher", 2, priority=Priority.HIGH),
    ]
    assert order(*crowd) == ["higher", "high", "normal", "low"]


def test_a_low_one_that_has_waited_long_goes_before_a_high_one_that_has_just_come() -> None:
    crowd = [waiting("low", priority=Priority.LOW), waiting("high", 20, priority=Priority.HIGH)]
    assert order(*crowd, now=NOW + timedelta(minutes=20)) == ["low", "high"]


def test_what_was_moved_to_the_front_goes_before_all_and_the_newest_first() -> None:
    crowd = [
        waiting("high", priority=Priority.HIGH),
        waiting("x", front=1, priority=Priority.LOW),
        waiting("y", front=2),
        waiting("z", front=2),
    ]
    assert order(*crowd) == ["z", "y", "x", "high"]


def test_owners_take_turns_whatever_the_number_of_their_jobs() -> None:
    many = [waiting(f"a{number}", number, owner="a") for number in range(4)]
    few = [waiting("b0", 8, owner="b"), waiting("c0", 7, owner="c"), waiting("c1", 9, owner="c")]
    assert order(*many, *few) == ["a0", "c0", "b0", "a1", "c1", "a2", "a3"]


def test_who_has_had_more_waits_until_the_others_have_had_as_much() -> None:
    crowd = [waiting(f"{owner}{turn}", turn, owner=owner) for owner in "ab" for turn in range(3)]
    assert order(*crowd, shares={"a": 2}) == ["b0", "b1", "a0", "b2", "a1", "a2"]


def test_a_fair_share_is_one_within_a_level() -> None:
    crowd = [waiting("a0", owner="a", priority=Priority.HIGH), waiting("b0", owner="b")]
    assert order(*crowd, shares={"a": 99}) == ["a0", "b0"]


def test_what_was_moved_to_the_front_counts_as_its_owner_s_turn() -> None:
    crowd = [
        waiting("a0", owner="a", front=0),
        waiting("a1", owner="a"),
        waiting("b0", 9, owner="b"),
    ]
    assert order(*crowd) == ["a0", "b0", "a1"]


def test_an_owner_s_jobs_go_by_deadline_then_by_age() -> None:
    crowd = [
        waiting("old", 0),
        waiting("later", 1, deadline=NOW + timedelta(hours=2)),
        waiting("soon", 2, deadline=NOW + timedelta(hours=1)),
    ]
    assert order(*crowd) == ["soon", "later", "old"]


def test_a_deadline_gets_nobody_before_another_owner_s_turn() -> None:
    crowd = [
        waiting("a0", owner="a", deadline=NOW + timedelta(minutes=1)),
        waiting("a1", owner="a", deadline=NOW + timedelta(minutes=2)),
        waiting("b0", owner="b"),
    ]
    assert order(*crowd) == ["a0", "b0", "a1"]


def test_choosing_counts_what_each_owner_has_had() -> None:
    crowd = [waiting(f"{owner}{turn}", turn, owner=owner) for owner in "ab" for turn in range(3)]
    picked = choose(
        crowd,
        [],
        capacity=room(processing=3),
        shares={"a": 1, "b": 0},
        gate=Open(),
        now=NOW,
        ageing=AGEING,
    )
    assert (picked.job_ids, picked.shares) == (["b0", "a0", "b1"], {"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("shares", "owners", "expected"),
    [
        ({}, set(), {}),
        ({}, {"a", "b"}, {"a": 0, "b": 0}),
        ({"a": 7, "b": 9}, {"a", "b"}, {"a": 0, "b": 2}),
        # Who comes anew has to catch up with nobody, and nobody with who is gone.
        ({"a": 7, "b": 9}, {"a", "b", "new"}, {"a": 0, "b": 2, "new": 0}),
        ({"gone": 0, "b": 9, "c": 11}, {"b", "c"}, {"b": 0, "c": 2}),
    ],
)
def test_shares_are_counted_from_the_least(
    shares: dict[str, int], owners: set[str], expected: dict[str, int]
) -> None:
    assert expected == levelled(shares, owners)
