"""Stems, passes and chunks: what is decided before anything is computed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.core import (
    CHUNK_SECONDS,
    MAX_SHIFT,
    SHIFT_SEED,
    chunk_frames,
    offered_stems,
    passes_of,
    resolve_stems,
)
from shared.contracts.audio import SAMPLE_RATE, Pass
from shared.errors import Code, TerminalError
from shared.separation.windows import stride_frames, window_frames

FOUR = ("drums", "bass", "other", "vocals")
#: Windows of htdemucs and of mdx_extra.
HTDEMUCS, MDX = 343_980, window_frames(44)


@pytest.mark.parametrize(
    ("sources", "offered"),
    [
        (FOUR, (*FOUR, "instrumental")),
        (("vocals", "instrumental"), ("vocals", "instrumental")),
        (("drums", "rest"), ("drums", "rest")),
        (("instrumental", "x"), ("instrumental", "x")),
    ],
)
def test_what_a_model_can_deliver(sources: tuple[str, ...], offered: tuple[str, ...]) -> None:
    assert offered == offered_stems(sources)


@pytest.mark.parametrize(
    ("wanted", "sources", "stems", "computed"),
    [
        ((), FOUR, (*FOUR, "instrumental"), FOUR),
        (("vocals",), FOUR, ("vocals",), ("vocals",)),
        (("instrumental",), FOUR, ("instrumental",), ("vocals",)),
        (("vocals", "instrumental", "vocals"), FOUR, ("vocals", "instrumental"), ("vocals",)),
        (("vocals", "drums"), FOUR, ("vocals", "drums"), ("drums", "vocals")),
        ((), ("vocals", "instrumental"), ("vocals", "instrumental"), ("vocals",)),
        ((), ("drums", "rest"), ("drums", "rest"), ("drums", "rest")),
        (("instrumental",), ("instrumental", "x"), ("instrumental",), ("instrumental",)),
    ],
)
def test_stems_are_resolved_to_what_must_be_computed(
    wanted: tuple[str, ...],
    sources: tuple[str, ...],
    stems: tuple[str, ...],
    computed: tuple[str, ...],
) -> None:
    assert (stems, computed) == resolve_stems(wanted, sources, "m")


@pytest.mark.parametrize("sources", [FOUR, ("drums", "bass")])
def test_an_unknown_stem_is_refused_and_told_what_there_is(sources: tuple[str, ...]) -> None:
    with pytest.raises(TerminalError) as caught:
        resolve_stems(("kazoo",), sources, "m")
    assert caught.value.code == Code.MODEL_NO_SUCH_STEM
    assert "kazoo" in caught.value.detail
    assert "drums, bass" in caught.value.detail


@pytest.mark.parametrize(
    ("segments", "needed", "expected"),
    [
        ((100,), (0,), [((0,), 100)]),
        ((100, 100, 100), (0, 1, 2), [((0, 1, 2), 100)]),
        ((100, 100, 100), (1,), [((1,), 100)]),
        ((100, 60, 100, 60), (0, 1, 2, 3), [((0, 2), 100), ((1, 3), 60)]),
        ((100, 60, 100, 60), (1, 2), [((1,), 60), ((2,), 100)]),
    ],
)
def test_without_shifts_networks_with_windows_alike_share_a_pass(
    segments: tuple[int, ...], needed: tuple[int, ...], expected: list[tuple[tuple[int, ...], int]]
) -> None:
    assert expected == [(one.members, one.segment) for one in passes_of(segments, needed, 0)]
    for one in passes_of(segments, needed, 0):
        assert (one.start, one.stride) == (0, stride_frames(one.segment))


def drawn(members: int, shifts: int) -> list[list[int]]:
    """What apply_model asks for: of each member in turn, all of its shifts."""
    chance = random.Random(SHIFT_SEED)  # noqa: S311 - repeatable on purpose
    return [[chance.randint(0, SAMPLE_RATE // 2) for _ in range(shifts)] for _ in range(members)]


@pytest.mark.parametrize("shifts", [1, 2, 5])
def test_with_shifts_each_network_has_its_own_in_the_order_demucs_draws_them(shifts: int) -> None:
    made = passes_of((100, 60, 100), (0, 1, 2), shifts)
    offsets = [one.start + MAX_SHIFT for one in made]
    assert offsets == [offset for member in drawn(3, shifts) for offset in member]
    assert [one.members for one in made] == [(m,) for m in range(3) for _ in range(shifts)]
    assert [one.segment for one in made] == [s for s in (100, 60, 100) for _ in range(shifts)]
    assert all(-MAX_SHIFT <= one.start <= 0 for one in made)
    assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)])
def test_a_network_that_is_left_out_draws_too(needed: tuple[int, ...]) -> None:
    segments = (100, 60, 100)
    everything = passes_of(segments, (0, 1, 2), 2)
    expected = tuple(one for one in everything if one.members[0] in needed)
    assert expected == passes_of(segments, needed, 2)


def test_shifts_are_the_same_every_time_and_others_for_another_seed() -> None:
    first = passes_of((100,), (0,), 3)
    random.seed(1)  # someone else's chance is none of ours
    assert first == passes_of((100,), (0,), 3)
    assert first != passes_of((100,), (0,), 3, seed=SHIFT_SEED + 1)


def grids(*segments: int, shifts: int = 0) -> tuple[Pass, ...]:
    return passes_of(segments, tuple(range(len(segments))), shifts)


@pytest.mark.parametrize(
    ("passes", "most", "windows", "of"),
    [
        (grids(HTDEMUCS), 4, 4, HTDEMUCS),
        (grids(HTDEMUCS), 1, 1, HTDEMUCS),
        (grids(HTDEMUCS, HTDEMUCS), 4, 4, HTDEMUCS),
        # 33 seconds apart: three of them are under two minutes.
        (grids(MDX), 8, 3, MDX),
        # A window that is longer than a chunk may be is still a chunk.
        (grids(SAMPLE_RATE * 1000), 8, 1, SAMPLE_RATE * 1000),
        # The longest distance counts: a chunk has a window of every pass.
        (grids(HTDEMUCS, MDX), 8, 3, MDX),
        # Each shift costs as much again.
        (grids(HTDEMUCS, shifts=2), 8, 4, HTDEMUCS),
        (grids(HTDEMUCS, shifts=3), 8, 2, HTDEMUCS),
        (grids(HTDEMUCS, shifts=20), 8, 1, HTDEMUCS),
    ],
)
def test_a_chunk_has_as_many_windows_as_it_may_and_two_minutes_allow(
    passes: tuple[Pass, ...], most: int, windows: int, of: int
) -> None:
    assert windows * stride_frames(of) == chunk_frames(passes, most)


@given(
    segments=st.lists(st.integers(2, SAMPLE_RATE * 200), min_size=1, max_size=4),
    shifts=st.integers(0, 4),
    most=st.integers(1, 50),
)
def test_a_chunk_is_no_shorter_than_a_stride_and_no_longer_than_it_has_to_be(
    segments: list[int], shifts: int, most: int
) -> None:
    passes = grids(*segments, shifts=shifts)
    longest = max(one.stride for one in passes)
    found = chunk_frames(passes, most)
    assert found >= longest
    assert found <= max(longest, min(most * longest, CHUNK_SECONDS * SAMPLE_RATE))
