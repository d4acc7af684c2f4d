"""Canonical PCM: the downmix, the statistics, the exact length."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.downloader.pcm import BLOCK_FRAMES, HELD_FRAMES, Moments, Writer, downmix_matrix

FIVE_ONE = ["FL", "FR", "FC", "LFE", "BL", "BR"]


def test_mono_goes_to_both_sides_at_its_full_level() -> None:
    assert downmix_matrix(["FC"]).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("names", [["FL", "FR"], ["NONE", "NONE"]])
def test_stereo_stays_as_it_is(names: list[str]) -> None:
    assert downmix_matrix(names).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_surround_keeps_its_sides_and_cannot_clip() -> None:
    matrix = downmix_matrix(FIVE_ONE)
    np.testing.assert_allclose(matrix.sum(axis=0), [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(matrix[0, 0] * np.sqrt(0.5), matrix[2, 0], rtol=1e-6)
    assert matrix[4, 1] == 0.0  # back left is not heard on the right
    assert matrix[3].tolist() == [0.0, 0.0]  # nor the low-frequency channel at all


@pytest.mark.parametrize("count", [3, 4, 7, 16])
def test_channels_without_a_place_are_all_heard(count: int) -> None:
    matrix = downmix_matrix(["NONE"] * count)
    assert (matrix.sum(axis=1) > 0).all()
    assert matrix.sum(axis=0).max() == pytest.approx(1.0)


def written(blocks: list[np.ndarray], settle: int | None = None) -> tuple[bytes, Writer]:
    """What a writer makes of ``blocks``."""
    file = io.BytesIO()
    writer = Writer(file)
    for block in blocks:
        writer.add(block.astype(np.float32))
    if settle is not None:
        writer.settle(settle)
    writer.finish()
    return file.getvalue(), writer


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    offset=st.floats(-100, 100),
    scale=st.floats(1e-3, 10),
    seed=st.integers(0, 1000),
)
def test_statistics_are_those_of_torch(
    sizes: list[int], offset: float, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    blocks = [random.normal(offset, scale, (size, 2)).astype(np.float32) for size in sizes]
    data, writer = written(blocks)
    whole = torch.from_numpy(np.frombuffer(data, "<f4").reshape(-1, 2).copy()).double()
    mono = whole.mean(1)
    if len(mono) > 1:
        assert writer.moments.mean == pytest.approx(float(mono.mean()), rel=1e-9, abs=1e-12)
        assert writer.moments.std == pytest.approx(float(mono.std()), rel=1e-9, abs=1e-12)


def test_a_large_offset_does_not_cancel_the_deviation_away() -> None:
    moments = Moments()
    for value in (1e8, 1e8 + 1, 1e8 + 2) * 1000:
        moments.add(np.array([value]))
    assert moments.std == pytest.approx(np.sqrt(2 / 3 * 3000 / 2999), rel=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_no_deviation_without_two_values(count: int) -> None:
    moments = Moments()
    moments.add(np.ones(count))
    assert moments.std == 0.0


@pytest.mark.parametrize("frames", [1, HELD_FRAMES, BLOCK_FRAMES + HELD_FRAMES, 200_001])
def test_the_bytes_are_the_samples_and_the_hash_is_theirs(frames: int) -> None:
    samples = np.random.default_rng(3).normal(0, 1, (frames, 2)).astype(np.float32)
    data, writer = written(np.array_split(samples, 7))
    assert data == samples.astype("<f4").tobytes()
    assert writer.digest == hashlib.blake2b(data, digest_size=20).hexdigest()
    assert writer.frames == frames


@pytest.mark.parametrize("difference", [-3, 0, 2])
def test_a_length_can_still_be_settled(difference: int) -> None:
    frames = 150_000
    samples = np.random.default_rng(4).normal(0, 1, (frames, 2)).astype(np.float32)
    data, writer = written(np.array_split(samples, 9), settle=frames + difference)
    kept = np.frombuffer(data, "<f4").reshape(-1, 2)
    assert len(kept) == writer.frames == writer.moments.count == frames + difference
    same = min(frames, frames + difference)
    assert np.array_equal(kept[:same], samples[:same])
    assert not kept[same:].any()


def test_what_is_not_a_number_becomes_silence() -> None:
    samples = np.ones((10, 2))
    samples[3, 0], samples[4, 1], samples[5, 0] = np.nan, np.inf, -np.inf
    data, writer = written([samples])
    kept = np.frombuffer(data, "<f4").reshape(-1, 2)
    assert kept[3:6].tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    assert np.isfinite([writer.moments.mean, writer.moments.std]).all()
