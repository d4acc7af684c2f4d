"""Which job's chunks go out next."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from msgspec.structs import replace

from services.scheduler.decision import Granted
from services.scheduler.grants import PATIENCE, Tally, passed_over, tally, windows
from shared.contracts.audio import SAMPLE_RATE
from shared.contracts.job import Job
from shared.contracts.request import Priority
from shared.contracts.work import Stage
from tests.support import jobs
from tests.support.jobs import JOB, NOW, live

#: A minute of audio in three chunks.
TRACK = replace(jobs.track(), frames=60 * SAMPLE_RATE)


def wants(
    job_id: str, seconds: float, *, idle: int = 9, out: int = 0, level: int = 1, minute: int = 0
) -> Tally:
    return Tally(job_id, level, seconds, NOW + timedelta(minutes=minute), out, idle)


def of(job: Job) -> Tally:
    return tally(replace(job, track=TRACK))


@pytest.mark.parametrize(
    ("job", "seconds", "out", "idle", "other"),
    [
        (jobs.downloading(), 0.0, 0, 0, 0),
        (jobs.preparing(), 60.0, 0, 0, 1),
        (live(jobs.preparing(), jobs.failed(Stage.SEPARATE, "prepare")), 60.0, 0, 0, 0),
        (jobs.separating(), 60.0, 2, 1, 0),
        (jobs.separating(1), 40.0, 2, 0, 0),
        (jobs.separating(2), 20.0, 1, 0, 0),
        # While one waits for its next attempt, the others don't go out to fail of the same.
        (live(jobs.separating(), jobs.failed(Stage.SEPARATE, "0")), 60.0, 1, 0, 0),
        (jobs.finalizing(), 0.0, 0, 0, 0),
    ],
    ids=[
        "downloading",
        "preparing",
        "preparing again",
        "separating",
        "one done",
        "two done",
        "one failed",
        "finalizing",
    ],
)
def test_what_a_job_wants(job: Job, seconds: float, out: int, idle: int, other: int) -> None:
    wanted = of(job)
    assert (seconds, out, idle, other) == (wanted.seconds, wanted.out, wanted.idle, wanted.other)


@pytest.mark.parametrize("slots", range(6))
def test_no_more_chunks_are_out_than_there_are_slots(slots: int) -> None:
    crowd = [wants("a", 10.0, idle=2), wants("b", 20.0, idle=2)]
    assert min(slots, 4) == sum(windows(crowd, slots, {}).values())


def test_what_is_out_stays_out_though_there_are_fewer_slots_by_now() -> None:
    assert windows([wants("a", 10.0, out=3), wants("b", 5.0)], 2, {}) == {"a": 3, "b": 0}


def test_a_preparation_takes_a_slot() -> None:
    crowd = [wants("a", 10.0), wants("b", 20.0, idle=0)._replace(other=1)]
    assert windows(crowd, 2, {}) == {"a": 1, "b": 0}


def test_the_job_with_the_least_left_goes_first() -> None:
    assert windows([wants("long", 7200.0), wants("short", 180.0)], 1, {}) == {"long": 0, "short": 1}


def test_a_slot_that_the_first_can_t_use_is_the_next_one_s() -> None:
    crowd = [wants("long", 7200.0), wants("short", 180.0, idle=1)]
    assert windows(crowd, 3, {}) == {"long": 2, "short": 1}


def test_priority_goes_before_what_is_left() -> None:
    assert windows([wants("a", 7200.0, level=0), wants("b", 1.0)], 1, {}) == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (wants("b", 10.0), wants("a", 10.0, minute=1)),
        (wants("a", 10.0), wants("b", 10.0)),
    ],
)
def test_age_and_then_the_id_settle_a_draw(first: Tally, second: Tally) -> None:
    assert windows([second, first], 1, {})[first.job_id] == 1


def test_who_was_passed_over_too_often_has_its_turn_whatever_its_priority() -> None:
    crowd = [wants("long", 7200.0, level=2), wants("short", 1.0, level=0)]
    assert windows(crowd, 1, {"long": 2 * PATIENCE - 1}) == {"long": 0, "short": 1}
    assert windows(crowd, 1, {"long": 2 * PATIENCE}) == {"long": 1, "short": 0}


def test_of_those_who_were_passed_over_too_often_the_one_most_often_goes_first() -> None:
    crowd = [wants("a", 1.0), wants("b", 9.0), wants("c", 99.0)]
    passed = {"b": 3 * PATIENCE, "c": 3 * PATIENCE + 1}
    assert windows(crowd, 1, passed) == {"a": 0, "b": 0, "c": 1}


def test_being_passed_over_is_counted_until_a_turn_comes() -> None:
    crowd = [wants("a", 1.0), wants("b", 9.0), wants("done", 0.0, idle=0)]
    passed = passed_over({"b": 3, "done": 7}, crowd, "a", 2)
    assert passed == {"b": 5}
    assert passed_over(passed, crowd, "b", 1) == {"a": 1}


class Separators:
    """Slots that take chunks as they are granted, each for one turn."""

    def __init__(self, slots: int, songs: dict[str, int]) -> None:
        self.slots = slots
        #: Minutes of one chunk each.
        self.left = dict(songs)
        self.out: Counter[str] = Counter()
        self.passed: dict[str, int] = {}
        self.story: list[str] = []

    def tallies(self) -> list[Tally]:
        return [
            wants(name, 60.0 * left, idle=left - self.out[name], out=self.out[name])
            for name, left in self.left.items()
            if left
        ]

    def grant(self) -> None:
        allowed = windows(self.tallies(), self.slots, self.passed)
        for name, count in allowed.items():
            for _ in range(count - self.out[name]):
                self.out[name] += 1
                self.passed = dict(passed_over(self.passed, self.tallies(), name, 1))
                self.story.append(name)

    def turn(self) -> None:
        """One chunk's time passes."""
        self.grant()
        for name in tuple(self.out.elements()):
            self.out[name] -= 1
            self.left[name] -= 1


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_short_song_is_held_up_by_a_long_mix_by_no_more_than_the_chunks_that_run(
    slots: int,
) -> None:
    separators = Separators(slots, {"mix": 120})
    for _ in range(5):
        separators.turn()
    separators.grant()  # every slot has a chunk of the mix
    separators.left["song"] = 3
    turns = 0
    while separators.left["song"]:
        separators.turn()
        turns += 1
    # One chunk's time for those that run, then what the song itself takes.
    assert turns == 1 + -(-3 // slots)


def test_a_long_mix_goes_on_however_many_short_songs_come() -> None:
    others = 4
    separators = Separators(1, {"mix": 6})
    for number in range(600):
        if sum(map(bool, separators.left.values())) <= others:
            separators.left[f"song{number}"] = 3
        separators.turn()
    turns = [turn for turn, name in enumerate(separators.story) if name == "mix"]
    assert max(after - before for before, after in pairwise(turns)) <= (PATIENCE + 1) * (others + 1)
    assert separators.left["mix"] == 0


def test_granted_chunks_are_ordered_and_no_more_than_the_window_says() -> None:
    job = live(jobs.preparing(), jobs.prepared(chunks=5), window=0)
    assert jobs.out(job) == []
    for window in (1, 3):
        job = live(job, Granted(JOB), window=window)
        assert len(jobs.out(job)) == window


def test_a_high_priority_is_a_higher_level() -> None:
    high = live(None, jobs.submit(priority=Priority.HIGH))
    assert (tally(high).level, tally(jobs.pending()).level) == (0, 1)
