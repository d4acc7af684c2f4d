"""How many windows at once: measured, halved, tried again, and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.batchsize import (
    MOST,
    PATIENCE,
    RECOVERY,
    BatchSize,
    Found,
    SizeBook,
    measured,
    sizes,
)

if TYPE_CHECKING:
    from pathlib import Path


class Device:
    """Takes as many seconds for a batch as a table says; what the table lacks does not fit."""

    def __init__(self, seconds: dict[int, float], *, first: float = 60.0) -> None:
        """``first``: what the first batch of a size takes longer."""
        self.seconds = seconds
        self.first = first
        self.now = 0.0
        self.asked: list[int] = []

    def run(self, windows: int) -> bool:
        """Compute, if they fit."""
        if windows not in self.seconds:
            self.asked.append(windows)
            return False
        self.now += self.seconds[windows] + (self.first if windows not in self.asked else 0.0)
        self.asked.append(windows)
        return True

    def clock(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize(
    ("seconds", "best", "tried", "limited"),
    [
        # Nothing fits, or nothing but one.
        ({}, 1, 1, True),
        ({1: 1.0}, 1, 2, True),
        # Twice the windows in twice the time is no gain, nor is one of two percent.
        ({1: 1.0, 2: 2.0, 4: 2.0}, 1, 2, False),
        ({1: 1.0, 2: 1.97, 4: 2.0}, 1, 2, False),
        ({1: 1.0, 2: 1.9, 4: 3.8}, 2, 4, False),
        # Each is faster than the one before until the room, or the list, ends.
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4, 8, True),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 3.0}, 4, 8, False),
        (dict.fromkeys(range(1, 200), 1.0), MOST, MOST, False),
        # A clock that does not move divides by nothing.
        ({1: 0.0, 2: 0.0}, 2, 4, True),
    ],
)
def test_the_size_with_the_most_windows_in_a_second_is_taken(
    seconds: dict[int, float], best: int, tried: int, *, limited: bool
) -> None:
    device = Device(seconds)
    assert measured(device.run, device.clock) == Found(best, limited)
    assert max(device.asked) == tried


def test_a_size_that_fits_only_once_is_not_taken() -> None:
    device = Device({1: 1.0, 2: 1.0})

    def run(windows: int) -> bool:
        return not (windows == 2 and 2 in device.asked) and device.run(windows)

    assert measured(run, device.clock) == Found(1, limited=True)


@pytest.mark.parametrize("first", [0.0, 1000.0])
def test_the_first_batch_of_a_size_pays_for_plans_and_does_not_count(first: float) -> None:
    device = Device({1: 1.0, 2: 1.0, 4: 5.0}, first=first)
    assert measured(device.run, device.clock) == Found(2)


def test_sizes_are_doubled() -> None:
    assert list(sizes()) == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("most", [1, 7, 64])
def test_a_size_begins_with_what_was_measured_and_never_exceeds_it(most: int) -> None:
    size = BatchSize(Found(most))
    assert size.size == most
    for _ in range(3 * RECOVERY):
        size.fitted(most)
    assert size.size == most


@pytest.mark.parametrize(
    ("most", "windows", "expected"),
    [(64, 64, 32), (8, 8, 4), (3, 3, 1), (1, 1, 1), (8, 3, 1), (8, 6, 3), (2, 5, 1)],
)
def test_what_did_not_fit_is_halved(most: int, windows: int, expected: int) -> None:
    size = BatchSize(Found(most))
    size.did_not_fit(windows)
    assert expected == size.size


def raised(size: BatchSize, batches: int = RECOVERY) -> int:
    """The size after so many full batches, if it was the same until the last one."""
    before = size.size
    for _ in range(batches - 1):
        size.fitted(before)
        assert size.size == before
    size.fitted(before)
    return size.size


def test_after_many_batches_that_went_well_one_window_more_is_tried() -> None:
    size = BatchSize(Found(8))
    size.did_not_fit(8)
    assert [raised(size) for _ in range(5)] == [5, 6, 7, 8, 8]


def test_a_batch_that_was_not_full_says_nothing() -> None:
    size = BatchSize(Found(8))
    size.did_not_fit(8)
    for _ in range(3 * RECOVERY):
        size.fitted(3)
    assert size.size == 4


def test_where_room_ended_the_measuring_more_is_tried_later() -> None:
    size = BatchSize(Found(4, limited=True))
    assert [raised(size) for _ in range(3)] == [5, 6, 7]
    # That did not fit: back to what did, and the next try is twice as far away.
    size.did_not_fit(7)
    assert size.size == 6
    assert raised(size, 2 * RECOVERY) == 7
    size.did_not_fit(7)
    assert raised(size, 4 * RECOVERY) == 7
    # One that had fitted is no try any more: somebody else takes the room.
    size.fitted(7)
    size.did_not_fit(7)
    assert size.size == 3


def test_no_try_is_further_away_than_the_longest_patience() -> None:
    size = BatchSize(Found(4, limited=True))
    for _ in range(30):
        for _ in range(PATIENCE):
            size.fitted(size.size)
            if size.size == 5:
                break
        size.did_not_fit(5)
        assert size.size == 4


def test_no_size_is_larger_than_the_largest() -> None:
    size = BatchSize(Found(MOST - 1, limited=True))
    assert [raised(size) for _ in range(2)] == [MOST, MOST]


def test_running_out_starts_the_count_anew() -> None:
    size = BatchSize(Found(8))
    size.did_not_fit(8)
    for _ in range(RECOVERY - 1):
        size.fitted(4)
    size.did_not_fit(4)
    size.fitted(2)
    assert size.size == 2


@given(
    windows=st.integers(0, MOST),
    limited=st.booleans(),
    events=st.lists(st.booleans(), max_size=400),
)
def test_whatever_happens_a_size_is_between_one_and_the_most(
    windows: int, events: list[bool], *, limited: bool
) -> None:
    size = BatchSize(Found(windows, limited))
    for went_well in events:
        if went_well:
            size.fitted(size.size)
        else:
            size.did_not_fit(size.size)
        assert 1 <= size.size <= (MOST if limited else max(1, windows))


def test_a_book_remembers_each_model_on_each_device(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    one, two = SizeBook(path, "H100"), SizeBook(path, "RTX")
    assert one.get("a/exact") is None
    one.put("a/exact", Found(16))
    two.put("a/exact", Found(4, limited=True))
    one.put("a/fast", Found(32))
    one.put("a/exact", Found(8))
    again = SizeBook(path, "H100")
    assert [again.get("a/exact"), again.get("a/fast"), again.get("b")] == [
        Found(8),
        Found(32),
        None,
    ]
    assert two.get("a/exact") == Found(4, limited=True)
    assert [file.name for file in tmp_path.iterdir()] == ["sizes.json"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"[]",
        b'{"d/m": "8"}',
        b'{"d/m": 8}',  # as it was once
        b'{"d/m": {"windows": 8',
        b'{"d/m": 1e400}',
        b"\xff",
        b'{"\xff": 1}',
    ],
)
def test_a_damaged_book_is_an_empty_one_and_is_written_anew(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_bytes(data)
    book = SizeBook(path, "d")
    assert book.get("m") is None
    book.put("m", Found(8))
    assert book.get("m") == Found(8)


@pytest.mark.parametrize("size", [0, -1, MOST + 1])
def test_a_size_that_can_not_be_is_not_believed(size: int, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(f'{{"d/m": {{"windows": {size}}}}}')
    assert SizeBook(path, "d").get("m") is None


def test_a_book_that_can_not_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = SizeBook(tmp_path / "missing" / "sizes.json", "d")
    book.put("m", Found(8))
    assert "can't be kept" in capsys.readouterr().out
    assert book.get("m") is None
