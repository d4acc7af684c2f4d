"""Loudness and true peak against signals whose values are known (EBU Tech 3341, BS.1770-4)."""

from __future__ import annotations

import numpy as np
import pytest

from services.separator.loudness import Loudness, TruePeak, decibels
from shared.contracts.audio import SAMPLE_RATE
from tests.support.audio import Audio, noise, silence, tone


def sine(seconds: float, level: float) -> Audio:
    """1 kHz on both channels at ``level`` dBFS."""
    return tone(int(seconds * SAMPLE_RATE), 1000.0, level=10 ** (level / 20))


def loudness(audio: Audio, block: int = 1 << 16) -> float | None:
    meter = Loudness()
    for start in range(0, len(audio), block):
        meter.add(audio[start : start + block])
    return meter.integrated()


def true_peak(audio: Audio, block: int = 1 << 16) -> float:
    meter = TruePeak()
    for start in range(0, len(audio), block):
        meter.add(audio[start : start + block])
    return meter.peak()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        # Tech 3341's cases 1 to 4: as it is, and with passages that a gate leaves out.
        ([(20, -23.0)], -23.0),
        ([(20, -33.0)], -33.0),
        ([(10, -36.0), (60, -23.0), (10, -36.0)], -23.0),
        ([(10, -72.0), (10, -36.0), (60, -23.0), (10, -36.0), (10, -72.0)], -23.0),
        # Case 5: loud enough to count.
        ([(20, -26.0), (20.1, -20.0), (20, -26.0)], -23.0),
    ],
)
def test_loudness_is_what_the_ebu_says(parts: list[tuple[float, float]], expected: float) -> None:
    audio = np.concatenate([sine(*part) for part in parts])
    assert loudness(audio) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    "audio", [silence(1), silence(SAMPLE_RATE), sine(0.39, -20.0), sine(2, -80.0)]
)
def test_silence_and_what_is_too_short_have_no_loudness(audio: Audio) -> None:
    assert loudness(audio) is None


def test_what_is_louder_than_the_meter_shows_has_no_number() -> None:
    assert loudness(sine(2, 5.0)) == pytest.approx(5.0, abs=0.1)
    assert loudness(sine(2, 30.0)) is None


@pytest.mark.parametrize("block", [1, 11, 4410, 70_000])
def test_what_is_measured_does_not_depend_on_the_blocks(block: int) -> None:
    audio = noise(30_000, seed=5)
    assert loudness(audio, block) == loudness(audio)
    assert true_peak(audio, block) == pytest.approx(true_peak(audio), rel=1e-5)


@pytest.mark.parametrize(
    ("divisor", "degrees"), [(4, 45.0), (4, 0.0), (6, 60.0), (8, 67.5), (3, 30.0)]
)
def test_a_peak_between_samples_is_found(divisor: int, degrees: float) -> None:
    # A sine of full scale that fades in and out, as Tech 3341's cases 15 to 19.
    frames = SAMPLE_RATE
    phase = 2 * np.pi * np.arange(frames) / divisor + np.deg2rad(degrees)
    fade = np.clip(np.minimum(np.arange(frames), np.arange(frames)[::-1]) / 4000, 0, 1)
    wave = (np.sin(phase) * fade).astype(np.float32)
    for audio in (np.stack((wave, 0 * wave), axis=1), np.stack((0 * wave, wave), axis=1)):
        assert decibels(true_peak(audio)) == pytest.approx(0.0, abs=0.2)


def test_a_peak_is_never_below_the_samples_wherever_they_stand() -> None:
    for at in (0, 1, 63, 64, 499):
        click = silence(500)
        click[at, 1] = -0.75
        assert true_peak(click) == pytest.approx(0.75)


def test_what_is_passed_over_is_not_higher() -> None:
    audio = noise(20_000, seed=9)
    spectrum = np.fft.rfft(audio, axis=0)
    # Four times the rate, exactly, of a signal without its topmost frequencies.
    spectrum[len(spectrum) * 3 // 4 :] = 0
    audio = np.fft.irfft(spectrum, axis=0).astype(np.float32)
    exact = np.abs(np.fft.irfft(spectrum, n=80_000, axis=0)).max() * 4
    assert decibels(true_peak(audio) / exact) == pytest.approx(0.0, abs=0.2)


def test_nothing_has_no_level() -> None:
    assert decibels(true_peak(silence(10))) is None
