"""The weightless separator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.separator.dsp import Dsp
from tests.support.audio import Audio, noise, silence, song, tone


def separated(audio: Audio) -> tuple[Audio, Audio]:
    """(vocals, instrumental), (frames, 2) each."""
    with torch.inference_mode():
        made = Dsp().eval()(torch.from_numpy(audio.T.copy())[None])[0]
    return made[0].T.numpy(), made[1].T.numpy()


def decibels(wanted: Audio, got: Audio) -> float:
    """Signal to distortion ratio."""
    return float(10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum()))


@pytest.mark.parametrize("mono", [False, True])
def test_a_voice_in_the_middle_is_told_from_what_repeats_around_it(*, mono: bool) -> None:
    made = song(12.0)
    mix, accompaniment = made.mix, made.accompaniment
    if mono:
        mix = np.repeat(mix.mean(axis=1, keepdims=True), 2, axis=1)
        accompaniment = mix - made.vocals
    vocals, instrumental = separated(mix)
    # Better by far than taking the mix for it.
    assert decibels(made.vocals, vocals) > decibels(made.vocals, mix) + 9
    assert decibels(accompaniment, instrumental) > decibels(accompaniment, mix) + 5


@pytest.mark.parametrize("frames", [1, 2, 1023, 4096, 60_000])
def test_the_two_stems_add_up_at_any_length(frames: int) -> None:
    audio = noise(frames)
    vocals, instrumental = separated(audio)
    np.testing.assert_allclose(audio, vocals + instrumental, atol=1e-6)


def test_the_same_song_gives_the_same_stems() -> None:
    audio = song(6.0).mix
    np.testing.assert_array_equal(separated(audio)[0], separated(audio)[0])


def test_a_batch_is_the_same_as_one_by_one() -> None:
    both = np.stack((song(3.0, seed=1).mix.T, song(3.0, seed=2).mix.T))
    with torch.inference_mode():
        made = Dsp().eval()(torch.from_numpy(both)).numpy()
    for one, together in zip(both, made, strict=True):
        np.testing.assert_allclose(separated(one.T)[0].T, together[0], atol=1e-6)


def test_silence_gives_silence() -> None:
    vocals, instrumental = separated(silence(50_000))
    assert np.abs(vocals).max() == np.abs(instrumental).max() == 0


def test_what_is_on_one_side_is_no_voice() -> None:
    vocals, _ = separated(tone(60_000, 440.0, pan=0.0))
    assert np.abs(vocals).max() < 0.01
