"""Which frames a window, a chunk, a piece covers, and with what weight."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from demucs.apply import TensorChunk
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.audio import SAMPLE_RATE, Pass, Plan, Track
from shared.separation.windows import (
    EPSILON,
    Span,
    chunk_advance,
    chunks_over,
    input_span,
    is_derived,
    normalization,
    output_span,
    pass_weight,
    piece_span,
    source_of,
    stride_frames,
    triangle,
    window_frames,
    window_span,
    windows_of,
)

FOUR = ("drums", "bass", "other", "vocals")
#: Longest shift of the made passes; longer than some of their windows.
MOST_SHIFT = 90


def grid(segment: int = 100, start: int = 0) -> Pass:
    return Pass(members=(0,), segment=segment, stride=stride_frames(segment), start=start)


def cut(
    frames: int, *passes: Pass, chunk_frames: int = 225, sources: tuple[str, ...] = FOUR
) -> Plan:
    return Plan(
        model="m",
        digest="d",
        sources=sources,
        computed=sources,
        stems=sources,
        frames=frames,
        passes=passes or (grid(),),
        chunk_frames=chunk_frames,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any track, cut for any bag: windows of several lengths, shifted or not, any chunk."""
    passes = draw(
        st.lists(
            st.builds(grid, st.integers(2, 70), st.just(0) | st.integers(-MOST_SHIFT, 0)),
            min_size=1,
            max_size=3,
        )
    )
    longest = max(one.stride for one in passes)
    chunk_frames = draw(st.integers(longest, 4 * longest))
    return cut(draw(st.integers(1, 300)), *passes, chunk_frames=chunk_frames)


def windows_inside(plan: Plan, one: Pass) -> list[int]:
    """The windows of a pass that have something of the track."""
    every = range(one.windows(plan.frames))
    return [window for window in every if window_span(plan, one, window).end > 0]


def covered_by(plan: Plan, chunk: int) -> set[int]:
    """The frames of the track to which a chunk's windows add something."""
    spans = [
        window_span(plan, one, window)
        for one in plan.passes
        for window in windows_of(plan, chunk, one)
    ]
    return {frame for span in spans for frame in range(max(0, span.start), span.end)}


@pytest.mark.parametrize(
    ("frames", "windows", "chunks"),
    [
        (1, 1, 1),
        (74, 1, 1),
        (75, 1, 1),
        (76, 2, 1),
        (100, 2, 1),
        (225, 3, 1),
        (226, 4, 2),
        (450, 6, 2),
        (451, 7, 3),
    ],
)
def test_a_window_starts_at_every_stride_inside_the_track(
    frames: int, windows: int, chunks: int
) -> None:
    plan = cut(frames)
    (one,) = plan.passes
    assert (windows, chunks) == (one.windows(frames), plan.chunks)
    assert list(range(windows)) == [w for n in range(chunks) for w in windows_of(plan, n, one)]
    assert [75 * w for w in range(windows)] == [
        window_span(plan, one, w).start for w in range(windows)
    ]
    assert window_span(plan, one, windows - 1).end == frames


@pytest.mark.parametrize(
    ("start", "first", "count"),
    [(-1, 0, 4), (-75, 0, 4), (-76, 0, 5), (-99, 0, 5), (-100, 1, 4), (-174, 1, 5), (-175, 2, 4)],
)
def test_a_shifted_window_that_ends_before_the_track_belongs_to_no_chunk(
    start: int, first: int, count: int
) -> None:
    one = grid(start=start)
    assert range(first, first + count) == windows_of(cut(225, one, chunk_frames=225), 0, one)


def test_the_published_windows_are_as_demucs_rounds_them() -> None:
    assert window_frames(Fraction(39, 5)) == 343980
    assert stride_frames(343980) == 257985
    assert stride_frames(window_frames(44)) == 1455300


@given(
    frames=st.integers(1, 700),
    segment=st.integers(2, 120),
    extra=st.integers(0, 51),
    offset=st.integers(0, MOST_SHIFT),
    data=st.data(),
)
def test_a_window_is_padded_exactly_as_tensor_chunk_pads_it(
    frames: int, segment: int, extra: int, offset: int, data: st.DataObject
) -> None:
    """``offset`` is what apply_model draws for a shift; at MOST_SHIFT it shifts nothing."""
    one = grid(segment, offset - MOST_SHIFT)
    plan = cut(frames, one, chunk_frames=one.stride)
    window = data.draw(st.integers(0, one.windows(frames) - 1))
    valid = segment + extra
    audio = torch.arange(1, frames + 1, dtype=torch.float32)[None]
    # As apply_model: pad, leave out the beginning, split, pad again.
    padded = TensorChunk(audio).padded(frames + 2 * MOST_SHIFT)
    shifted = TensorChunk(padded, offset, frames + MOST_SHIFT - offset)
    expected = TensorChunk(shifted, window * one.stride, segment).padded(valid)

    wanted = input_span(plan, one, window, valid)
    there = wanted.common(Span(0, frames))
    given_to_model = np.zeros(valid, np.float32)
    given_to_model[there.start - wanted.start : there.end - wanted.start] = audio[
        0, there.start : there.end
    ]
    assert expected[0].tolist() == given_to_model.tolist()
    if offset == MOST_SHIFT:
        unshifted = TensorChunk(audio, window * one.stride, segment).padded(valid)
        assert unshifted[0].tolist() == given_to_model.tolist()


@given(segment=st.integers(2, 5000))
def test_the_triangle_is_apply_models(segment: int) -> None:
    ramp = torch.cat(
        [torch.arange(1, segment // 2 + 1), torch.arange(segment - segment // 2, 0, -1)]
    )
    assert (ramp / ramp.max()).tolist() == triangle(segment).tolist()


@given(plan=plans(), data=st.data())
def test_the_weights_of_a_pass_are_those_of_all_its_windows(
    plan: Plan, data: st.DataObject
) -> None:
    for one in plan.passes:
        # In the pass's own frames, of which the first ``-start`` lie before the track.
        total = np.zeros(plan.frames - one.start, np.float64)
        for window in range(one.windows(plan.frames)):
            first = window * one.stride
            part = total[first : first + one.segment]
            part += triangle(one.segment)[: len(part)]
        start = data.draw(st.integers(0, plan.frames - 1))
        end = data.draw(st.integers(start + 1, plan.frames))
        found = pass_weight(plan, one, Span(start, end))
        np.testing.assert_allclose(total[start - one.start : end - one.start], found, rtol=1e-6)
        assert found.min() > 0


@given(plan=plans())
def test_chunks_cover_the_track_whatever_their_size(plan: Plan) -> None:
    for one in plan.passes:
        # Each window that has something of the track is in one chunk, and the order is kept.
        in_chunks = [w for n in range(plan.chunks) for w in windows_of(plan, n, one)]
        assert windows_inside(plan, one) == in_chunks
    every = [covered_by(plan, chunk) for chunk in range(plan.chunks)]
    assert set(range(plan.frames)) == set().union(*every)


@given(plan=plans())
def test_no_chunk_is_empty(plan: Plan) -> None:
    for chunk in range(plan.chunks):
        assert covered_by(plan, chunk)


@given(plan=plans())
def test_a_chunk_contributes_from_its_first_window_to_its_last(plan: Plan) -> None:
    for chunk in range(plan.chunks):
        covered = covered_by(plan, chunk)
        assert Span(min(covered), max(covered) + 1) == output_span(plan, chunk)


@given(plan=plans())
def test_pieces_are_the_track_and_complete_with_their_chunk(plan: Plan) -> None:
    pieces = [piece_span(plan, chunk) for chunk in range(plan.chunks)]
    assert list(range(plan.frames)) == [f for piece in pieces for f in range(*piece)]
    for chunk, piece in enumerate(pieces):
        assert piece.frames > 0
        assert max(chunks_over(plan, piece)) <= chunk
        if chunk + 1 < plan.chunks:
            assert piece.end <= output_span(plan, chunk + 1).start


@given(plan=plans(), data=st.data())
def test_the_chunks_over_some_frames_are_those_whose_spans_have_some(
    plan: Plan, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, plan.frames - 1))
    end = data.draw(st.integers(start + 1, plan.frames))
    expected = tuple(
        chunk
        for chunk in range(plan.chunks)
        if set(range(start, end)) & set(range(*output_span(plan, chunk)))
    )
    assert expected == chunks_over(plan, Span(start, end))


@given(plan=plans())
def test_what_chunks_advance_a_job_by_adds_up_to_its_length(plan: Plan) -> None:
    seconds = [chunk_advance(plan, chunk) for chunk in range(plan.chunks)]
    assert min(seconds) > 0
    assert sum(seconds) == pytest.approx(plan.frames / SAMPLE_RATE)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (Span(0, 10), Span(3, 5), Span(3, 5)),
        (Span(0, 10), Span(5, 20), Span(5, 10)),
        (Span(0, 10), Span(10, 20), Span(10, 10)),
        (Span(0, 10), Span(15, 20), Span(15, 15)),
        (Span(-5, 3), Span(0, 9), Span(0, 3)),
    ],
)
def test_what_two_spans_have_in_common(one: Span, other: Span, common: Span) -> None:
    assert common == one.common(other)
    assert common == other.common(one)
    assert common.frames == len(set(range(*one)) & set(range(*other)))


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        (0.25, 0.5, (0.25, 0.5 + EPSILON)),
        (0.0, 0.0, (0.0, EPSILON)),
        (0.5, math.nan, (0.5, EPSILON)),
        (math.nan, math.inf, (0.0, EPSILON)),
    ],
)
def test_a_track_without_a_deviation_is_normalized_as_silence_is(
    mean: float, std: float, expected: tuple[float, float]
) -> None:
    assert expected == normalization(Track(id="t", frames=1, mean=mean, std=std))


@pytest.mark.parametrize(
    ("stem", "sources", "source"),
    [
        ("vocals", FOUR, "vocals"),
        ("drums", FOUR, "drums"),
        ("instrumental", FOUR, "vocals"),
        ("instrumental", ("vocals", "instrumental"), "vocals"),
        ("instrumental", ("instrumental", "x"), "instrumental"),
    ],
)
def test_where_there_are_vocals_the_instrumental_is_what_they_leave(
    stem: str, sources: tuple[str, ...], source: str
) -> None:
    assert source == source_of(stem, sources)
    assert is_derived(stem, cut(10, sources=sources)) == (source != stem)
