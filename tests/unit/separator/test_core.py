"""Windows, chunks, stems and names."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from demucs.apply import TensorChunk
from hypothesis import given
from hypothesis import strategies as st

from services.separator.core import (
    chunk_advance,
    chunk_weight,
    input_span,
    normalization,
    output_span,
    read_span,
    resolve_stems,
    result_id,
    stride_frames,
    triangle,
    window_frames,
    window_span,
    windows_for_chunk,
    windows_of,
)
from shared.contracts.audio import SAMPLE_RATE, AudioFormat, Plan, Track
from shared.errors import Code, TerminalError

FOUR = ("drums", "bass", "other", "vocals")


def plan(frames: int, *, segment: int = 100, per_chunk: int = 3, digest: str = "d") -> Plan:
    return Plan(
        model="m",
        digest=digest,
        sources=FOUR,
        computed=FOUR,
        stems=FOUR,
        frames=frames,
        segment=segment,
        stride=stride_frames(segment),
        windows_per_chunk=per_chunk,
    )


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
    cut = plan(frames)
    assert (windows, chunks) == (cut.windows, cut.chunks)
    assert list(range(windows)) == [w for n in range(chunks) for w in windows_of(cut, n)]
    assert window_span(cut, windows - 1).end == frames


def test_the_published_windows_are_as_demucs_rounds_them() -> None:
    assert window_frames(Fraction(39, 5)) == 343980
    assert stride_frames(343980) == 257985
    assert stride_frames(window_frames(44)) == 1455300


@given(
    frames=st.integers(1, 700),
    segment=st.integers(2, 120),
    extra=st.integers(0, 51),
    data=st.data(),
)
def test_a_window_is_padded_exactly_as_tensor_chunk_pads_it(
    frames: int, segment: int, extra: int, data: st.DataObject
) -> None:
    cut = plan(frames, segment=segment)
    window = data.draw(st.integers(0, cut.windows - 1))
    valid = segment + extra
    audio = torch.arange(1, frames + 1, dtype=torch.float32)[None]
    expected = TensorChunk(audio, window * cut.stride, segment).padded(valid)
    wanted = input_span(cut, window, valid)
    read = read_span(cut, window // cut.windows_per_chunk, lambda _: valid)
    start, end = max(0, wanted.start), min(frames, wanted.end)
    assert read.start <= start
    assert end <= read.end
    padded = np.pad(audio[0, start:end].numpy(), (start - wanted.start, wanted.end - end))
    assert expected[0].tolist() == padded.tolist()


@given(segment=st.integers(2, 5000))
def test_the_triangle_is_apply_models(segment: int) -> None:
    ramp = torch.cat(
        [torch.arange(1, segment // 2 + 1), torch.arange(segment - segment // 2, 0, -1)]
    )
    assert (ramp / ramp.max()).tolist() == triangle(segment).tolist()


@given(frames=st.integers(1, 900), segment=st.integers(2, 120), per_chunk=st.integers(1, 9))
def test_chunks_cover_the_track_whatever_their_size(
    frames: int, segment: int, per_chunk: int
) -> None:
    cut = plan(frames, segment=segment, per_chunk=per_chunk)
    total = np.zeros(frames)
    for chunk in range(cut.chunks):
        span = output_span(cut, chunk)
        total[span.start : span.end] += chunk_weight(cut, chunk)
    whole = chunk_weight(plan(frames, segment=segment, per_chunk=cut.windows), 0)
    assert total.min() > 0
    np.testing.assert_allclose(whole, total, rtol=1e-6)
    advanced = sum(chunk_advance(cut, chunk) for chunk in range(cut.chunks))
    assert advanced == pytest.approx(frames / SAMPLE_RATE)


def test_a_chunk_of_long_windows_has_fewer_of_them() -> None:
    assert windows_for_chunk(257985, 8) == 8
    assert windows_for_chunk(stride_frames(window_frames(44)), 8) == 3
    assert windows_for_chunk(SAMPLE_RATE * 1000, 8) == 1


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


def test_a_track_without_a_deviation_is_normalized_as_silence_is() -> None:
    lone = Track(id="t", frames=1, mean=0.5, std=float("nan"))
    assert normalization(lone) == (0.5, 1e-8)


def test_a_results_id_tells_everything_apart_that_changes_its_files() -> None:
    track = Track(id="t", frames=100, mean=0.0, std=1.0)
    other = Track(id="u", frames=100, mean=0.0, std=1.0)
    ids = [
        result_id(track, plan(100), AudioFormat.FLAC),
        result_id(other, plan(100), AudioFormat.FLAC),
        result_id(track, plan(100, digest="e"), AudioFormat.FLAC),
        result_id(track, plan(100), AudioFormat.WAV),
    ]
    assert len(set(ids)) == len(ids)
    assert ids[0] == result_id(track, plan(100, per_chunk=1), AudioFormat.FLAC)
