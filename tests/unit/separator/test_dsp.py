"""The weightless separator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.separator.dsp import Dsp
from services.separator.dsp_spectra import TAPS, along_frequency, along_time, median
from tests.support.audio import Audio, noise, silence, song, tone
from tests.support.mixes import KINDS, Kind, made

#: Seconds of a mix: enough to repeat, and quick.
SECONDS = 4.5
#: What each stem must gain in dB over the mix, somewhat below what was measured.
GAINS = {
    "sung, wide chords that repeat": (11.0, 11.0),
    "sung, wide chords that don't repeat": (11.0, 11.0),
    "spoken, wide chords that repeat": (5.5, 5.5),
    "spoken, wide chords that don't repeat": (5.5, 5.5),
    "sung, a band: wide chords, drums, bass": (8.5, 8.5),
    "sung, a band that doesn't repeat": (8.0, 8.0),
    "spoken, a band": (4.5, 4.5),
    "sung in a room, a band": (4.5, 4.5),
    "sung, drums alone": (3.5, 3.5),
    "spoken, drums alone": (2.0, 2.0),
    "sung, a mono band": (6.5, 6.5),
    "spoken, a mono band": (1.5, 1.5),
    "sung, mono chords that don't repeat": (3.0, 3.0),
}


def separated(audio: Audio) -> tuple[Audio, Audio]:
    """(vocals, instrumental), (frames, 2) each."""
    with torch.inference_mode():
        stems = Dsp().eval()(torch.from_numpy(audio.T.copy())[None])[0]
    return stems[0].T.numpy(), stems[1].T.numpy()


def decibels(wanted: Audio, got: Audio) -> float:
    """Signal to distortion ratio, whatever the scale (SI-SDR)."""
    target, estimate = wanted.ravel().astype(float), got.ravel().astype(float)
    scaled = target * ((target @ estimate) / (target @ target))
    return float(10 * np.log10((scaled @ scaled) / np.square(estimate - scaled).sum()))


@pytest.mark.parametrize(
    "kind", [one for one in KINDS if not one.hopeless], ids=lambda one: one.name
)
def test_both_stems_gain_on_every_kind_that_is_not_hopeless(kind: Kind) -> None:
    mixed = made(kind, SECONDS, seed=5)
    vocals, instrumental = separated(mixed.mix)
    gains = (
        decibels(mixed.vocals, vocals) - decibels(mixed.vocals, mixed.mix),
        decibels(mixed.accompaniment, instrumental) - decibels(mixed.accompaniment, mixed.mix),
    )
    wanted = GAINS[kind.name]
    assert gains[0] > wanted[0]
    assert gains[1] > wanted[1]


@pytest.mark.parametrize("mono", [False, True])
def test_a_voice_in_the_middle_is_told_from_what_repeats_around_it(*, mono: bool) -> None:
    mixed = song(12.0)
    mix, accompaniment = mixed.mix, mixed.accompaniment
    if mono:
        mix = np.repeat(mix.mean(axis=1, keepdims=True), 2, axis=1)
        accompaniment = mix - mixed.vocals
    vocals, instrumental = separated(mix)
    # Better by far than taking the mix for it.
    assert decibels(mixed.vocals, vocals) > decibels(mixed.vocals, mix) + 9
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
        together = Dsp().eval()(torch.from_numpy(both)).numpy()
    for one, batched in zip(both, together, strict=True):
        np.testing.assert_array_equal(separated(one.T)[0].T, batched[0])


def test_silence_gives_silence() -> None:
    vocals, instrumental = separated(silence(50_000))
    assert np.abs(vocals).max() == np.abs(instrumental).max() == 0


def test_what_is_on_one_side_is_no_voice() -> None:
    vocals, _ = separated(tone(60_000, 440.0, pan=0.0))
    assert np.abs(vocals).max() < 0.01


def test_nothing_is_made_on_another_device_than_the_input_s() -> None:
    model, audio = Dsp().eval(), torch.from_numpy(song(3.0).mix.T.copy())[None]
    # What names no device lands on one without data, and fails where it meets the input.
    with torch.device("meta"), torch.inference_mode():
        assert model(audio).device.type == "cpu"


def test_the_median_is_the_median() -> None:
    planes = torch.randn(TAPS, 7, 400, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(planes.median(dim=0).values, median(list(planes)))


def test_a_median_is_of_nine() -> None:
    with pytest.raises(ValueError, match="median of 9"):
        median([torch.zeros(1)])


def test_a_line_in_time_survives_time_and_a_stroke_survives_frequency() -> None:
    line, stroke = torch.zeros(40, 40), torch.zeros(40, 40)
    line[20], stroke[:, 20] = 1.0, 1.0
    torch.testing.assert_close(along_time(line + stroke), line)
    torch.testing.assert_close(along_frequency(line + stroke), stroke)
