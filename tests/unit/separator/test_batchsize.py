"""How many windows at once: measured, halved, tried again, and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.batchsize import MOST, RECOVERY, BatchSize, SizeBook, measured, sizes

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
    ("seconds", "best", "tried"),
    [
        # Nothing fits, or nothing but one.
        ({}, 1, 1),
        ({1: 1.0}, 1, 2),
        # Twice the windows in twice the time is no gain, nor is one of two percent.
        ({1: 1.0, 2: 2.0, 4: 2.0}, 1, 2),
        ({1: 1.0, 2: 1.97, 4: 2.0}, 1, 2),
        ({1: 1.0, 2: 1.9, 4: 3.8}, 2, 4),
        # Each is faster than the one before until the room, or the list, ends.
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4, 8),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 3.0}, 4, 8),
        (dict.fromkeys(range(1, 200), 1.0), MOST, MOST),
        # A clock that does not move divides by nothing.
        ({1: 0.0, 2: 0.0}, 2, 4),
    ],
)
def test_the_size_with_the_most_windows_in_a_second_is_taken(
    seconds: dict[int, float], best: int, tried: int
) -> None:
    device = Device(seconds)
    assert best == measured(device.run, device.clock)
    assert max(device.asked) == tried


def test_a_size_that_fits_only_once_is_not_taken() -> None:
    device = Device({1: 1.0, 2: 1.0})

    def run(windows: int) -> bool:
        return not (windows == 2 and 2 in device.asked) and device.run(windows)

    assert measured(run, device.clock) == 1


@pytest.mark.parametrize("first", [0.0, 1000.0])
def test_the_first_batch_of_a_size_pays_for_plans_and_does_not_count(first: float) -> None:
    device = Device({1: 1.0, 2: 1.0, 4: 5.0}, first=first)
    assert measured(device.run, device.clock) == 2


def test_sizes_are_doubled() -> None:
    assert list(sizes()) == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("most", [1, 7, 64])
def test_a_size_begins_with_what_was_measured_and_never_exceeds_it(most: int) -> None:
    size = BatchSize(most)
    assert size.size == most
    for _ in range(3 * RECOVERY):
        size.fitted()
    assert size.size == most


@pytest.mark.parametrize(
    ("most", "windows", "expected"),
    [(64, 64, 32), (8, 8, 4), (3, 3, 1), (1, 1, 1), (8, 3, 1), (8, 6, 3), (2, 5, 1)],
)
def test_what_did_not_fit_is_halved(most: int, windows: int, expected: int) -> None:
    size = BatchSize(most)
    size.did_not_fit(windows)
    assert expected == size.size


def test_after_many_batches_that_went_well_one_window_more_is_tried() -> None:
    size = BatchSize(8)
    size.did_not_fit(8)
    for expected in (4, 5, 6, 7, 8, 8):
        assert size.size == expected
        for _ in range(RECOVERY - 1):
            size.fitted()
            assert size.size == expected
        size.fitted()


def test_running_out_starts_the_count_anew() -> None:
    size = BatchSize(8)
    size.did_not_fit(8)
    for _ in range(RECOVERY - 1):
        size.fitted()
    size.did_not_fit(4)
    size.fitted()
    assert size.size == 2


@given(most=st.integers(0, 100), events=st.lists(st.booleans(), max_size=400))
def test_whatever_happens_a_size_is_between_one_and_what_was_measured(
    most: int, events: list[bool]
) -> None:
    size = BatchSize(most)
    for went_well in events:
        if went_well:
            size.fitted()
        else:
            size.did_not_fit(size.size)
        assert 1 <= size.size <= max(1, most)


def test_a_book_remembers_each_model_on_each_device(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    one, two = SizeBook(path, "H100"), SizeBook(path, "RTX")
    assert one.get("a/exact") is None
    one.put("a/exact", 16)
    two.put("a/exact", 4)
    one.put("a/fast", 32)
    one.put("a/exact", 8)
    again = SizeBook(path, "H100")
    assert [again.get("a/exact"), again.get("a/fast"), again.get("b")] == [8, 32, None]
    assert two.get("a/exact") == 4
    assert [file.name for file in tmp_path.iterdir()] == ["sizes.json"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"[]",
        b'{"d/m": "8"}',
        b'{"d/m": 8',
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
    book.put("m", 8)
    assert book.get("m") == 8


@pytest.mark.parametrize("size", [0, -1, MOST + 1])
def test_a_size_that_can_not_be_is_not_believed(size: int, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(f'{{"d/m": {size}}}')
    assert SizeBook(path, "d").get("m") is None


def test_a_book_that_can_not_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = SizeBook(tmp_path / "missing" / "sizes.json", "d")
    book.put("m", 8)
    assert "can't be kept" in capsys.readouterr().out
    assert book.get("m") is None
