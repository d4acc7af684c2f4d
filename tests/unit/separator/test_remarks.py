"""What a listener is told about the weightless separator's result."""

from __future__ import annotations

import numpy as np
import pytest

from services.separator.remarks import FAINT, Width, faint
from shared.contracts.audio import Remark
from tests.support.audio import Audio, noise, silence, tone

FRAMES = 20_000


def mixed(*, side: float) -> Audio:
    """Noise in the middle, and as strong a share of other noise at the sides as ``side`` says."""
    middle, apart = noise(FRAMES)[:, 0], noise(FRAMES)[:, 1] * np.float32(side)
    return np.stack((middle + apart, middle - apart), axis=1)


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        (mixed(side=0.0), (Remark.DSP_MONO,)),
        (mixed(side=0.0005), (Remark.DSP_MONO,)),
        (mixed(side=0.002), (Remark.DSP_NARROW,)),
        (mixed(side=0.05), (Remark.DSP_NARROW,)),
        (mixed(side=0.2), ()),
        (noise(FRAMES), ()),
        (tone(FRAMES, 440.0, pan=0.0), ()),
        (silence(FRAMES), ()),
        (silence(0), ()),
        (np.full((10, 2), np.inf, np.float32), ()),
        (np.full((10, 2), np.nan, np.float32), ()),
    ],
)
def test_a_track_deserves_what_its_width_says(audio: Audio, expected: tuple[Remark, ...]) -> None:
    width = Width()
    width.add(audio)
    assert expected == width.remarks("dsp")


@pytest.mark.parametrize("block", [1, 777, FRAMES])
def test_it_does_not_matter_how_a_track_is_cut(block: int) -> None:
    audio, width = np.concatenate((mixed(side=0.0), noise(FRAMES)))[::20], Width()
    for start in range(0, len(audio), block):
        width.add(audio[start : start + block])
    assert width.remarks("dsp") == ()


def test_a_model_with_weights_has_no_such_trouble() -> None:
    width = Width()
    width.add(mixed(side=0.0))
    assert width.remarks("htdemucs") == ()


@pytest.mark.parametrize(
    ("model", "song", "vocals", "expected"),
    [
        ("dsp", -14.0, -30.0, ()),
        ("dsp", -14.0, -14.0 - FAINT, ()),
        ("dsp", -14.0, -14.1 - FAINT, (Remark.DSP_FAINT,)),
        ("dsp", -14.0, None, (Remark.DSP_FAINT,)),
        ("dsp", None, None, ()),
        ("htdemucs", -14.0, None, ()),
    ],
)
def test_vocals_that_are_hardly_there_deserve_a_word(
    model: str, song: float | None, vocals: float | None, expected: tuple[Remark, ...]
) -> None:
    assert faint(model, song, vocals) == expected
