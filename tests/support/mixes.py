"""Made mixes for the separator without weights: a voice, what plays with it, and where it sits.

All of it is synthesised here and depends on nothing but numpy and a seed.  A voice is a source
and a filter: harmonics under the formants of vowels (Peterson & Barney, "Control methods used
in a study of the vowels", JASA 1952), for speech with hisses between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.contracts.audio import SAMPLE_RATE
from tests.support.audio import Song

if TYPE_CHECKING:
    from collections.abc import Iterator

#: One channel, float64.
Wave: TypeAlias = NDArray[np.float64]

#: Formants of vowels in Hz, of a man's voice.
_VOWELS: Final = np.array(
    [
        (270, 2290, 3010),
        (530, 1840, 2480),
        (730, 1090, 2440),
        (570, 840, 2410),
        (300, 870, 2240),
        (640, 1190, 2390),
    ],
    dtype=float,
)
_BANDWIDTHS: Final = (80.0, 110.0, 160.0)
_TOP_HZ: Final = 6000.0
#: Roots of the chords that come round, as semitones above A2.
_ROUND: Final = (0, 8, 3, 10)
_MINOR: Final = (0, 3, 7, 12)
_BEAT: Final = 0.5


class Voice(StrEnum):
    """What is in the middle."""

    SUNG = "sung"
    SPOKEN = "spoken"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a mix is made."""

    name: str
    voice: Voice
    #: How far chords stand apart: 1 is hard left and right, 0 the middle.
    width: float = 0.85
    #: Whether the chords come round, or are drawn anew for every beat.
    repeats: bool = True
    chords: float = 1.0
    drums: float = 0.0
    bass: float = 0.0
    #: Share of the voice that a room throws back, differently left and right.
    room: float = 0.0
    #: Why a separator that looks at place and repetition can't do much, if so.
    hopeless: str = ""


KINDS: Final = (
    Kind(name="sung, wide chords that repeat", voice=Voice.SUNG),
    Kind(name="sung, wide chords that don't repeat", voice=Voice.SUNG, repeats=False),
    Kind(name="spoken, wide chords that repeat", voice=Voice.SPOKEN),
    Kind(name="spoken, wide chords that don't repeat", voice=Voice.SPOKEN, repeats=False),
    Kind(name="sung, a band: wide chords, drums, bass", voice=Voice.SUNG, drums=1.0, bass=1.0),
    Kind(
        name="sung, a band that doesn't repeat",
        voice=Voice.SUNG,
        drums=1.0,
        bass=1.0,
        repeats=False,
    ),
    Kind(name="spoken, a band", voice=Voice.SPOKEN, drums=1.0, bass=1.0),
    Kind(name="sung in a room, a band", voice=Voice.SUNG, drums=1.0, bass=1.0, room=0.35),
    Kind(name="sung, drums alone", voice=Voice.SUNG, chords=0.0, drums=1.6),
    Kind(name="spoken, drums alone", voice=Voice.SPOKEN, chords=0.0, drums=1.6),
    Kind(name="sung, a mono band", voice=Voice.SUNG, width=0.0, drums=1.0, bass=1.0),
    Kind(name="spoken, a mono band", voice=Voice.SPOKEN, width=0.0, drums=1.0, bass=1.0),
    # Plucks are strokes, and so even here something tells them from a sung voice.
    Kind(name="sung, mono chords that don't repeat", voice=Voice.SUNG, width=0.0, repeats=False),
    Kind(
        name="spoken, mono chords that don't repeat",
        voice=Voice.SPOKEN,
        width=0.0,
        repeats=False,
        hopeless="neither place nor repetition nor strokes tell the voice from the chords",
    ),
)


def made(kind: Kind, seconds: float, *, seed: int = 0) -> Song:
    """A mix of this kind, voice and accompaniment equally strong."""
    random = np.random.default_rng(seed)
    frames = int(seconds * SAMPLE_RATE)
    sing = _sung if kind.voice is Voice.SUNG else _spoken
    vocals = _placed(sing(frames, random), 0.0)
    if kind.room:
        vocals = _in_a_room(vocals, kind.room, random)
    rest = np.zeros((frames, 2))
    if kind.chords:
        rest += kind.chords * _scaled(_chords(frames, kind, random), 0.08)
    if kind.drums:
        rest += kind.drums * _scaled(_drums(frames, random, wide=kind.width > 0), 0.05)
    if kind.bass:
        rest += kind.bass * _scaled(_bass(frames, kind, random), 0.05)
    return Song(_scaled(vocals, 0.1).astype(np.float32), _scaled(rest, 0.1).astype(np.float32))


def _scaled(audio: Wave, rms: float) -> Wave:
    return audio * (rms / max(float(np.sqrt((audio**2).mean())), 1e-9))


def _placed(wave: Wave, place: float) -> Wave:
    """(frames,) → (frames, 2); place -1 is left, 1 right, at constant power."""
    angle = (place + 1) * np.pi / 4
    return np.stack((wave * np.cos(angle), wave * np.sin(angle)), axis=1)


def _steps(values: Wave, times: Wave, frames: int, glide: float) -> Wave:
    """A line through ``values`` from ``times`` on, with transitions of ``glide`` seconds."""
    time = np.arange(frames) / SAMPLE_RATE
    knots = np.concatenate((times, times[1:] - glide))
    levels = np.concatenate((values, values[:-1]))
    order = np.argsort(knots, kind="stable")
    return np.interp(time, knots[order], levels[order])


def _voiced(pitch: Wave, formants: Wave) -> Wave:
    """Harmonics of ``pitch`` (frames,) under ``formants`` (3, frames), 6 dB an octave down."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    wave = np.zeros_like(pitch)
    first = np.exp(1j * phase)
    turning = np.ones_like(first)
    for number in range(1, int(_TOP_HZ / pitch.min()) + 1):
        hertz = number * pitch
        gain = np.full_like(pitch, 0.02)
        for centre, width in zip(formants, _BANDWIDTHS, strict=True):
            gain += 1 / (1 + ((hertz - centre) / width) ** 2)
        # A product is many times quicker than a sine.
        turning *= first
        wave += gain * np.clip((_TOP_HZ - hertz) / 1000, 0, 1) / number * turning.imag
    return wave


def _sung(frames: int, random: np.random.Generator) -> Wave:
    """A melody with vibrato, a vowel to a note, and rests."""
    notes = int(frames / SAMPLE_RATE / 0.4) + 3
    lengths = random.choice([0.3, 0.45, 0.6, 0.9], notes)
    times = np.concatenate(([0.0], np.cumsum(lengths)))[:-1]
    tune = np.cumsum(random.choice([-4, -2, -1, 1, 2, 3], notes))
    tune = np.abs((tune + 9) % 28 - 14)
    pitch = 196 * 2 ** (_steps(tune.astype(float), times, frames, 0.06) / 12)
    time = np.arange(frames) / SAMPLE_RATE
    pitch = pitch * 2 ** (0.35 / 12 * np.sin(2 * np.pi * 5.6 * time))
    vowels = _VOWELS[random.integers(0, len(_VOWELS), notes)]
    formants = np.stack([_steps(one, times, frames, 0.08) for one in vowels.T])
    loud = np.where(random.random(notes) < 0.2, 0.0, random.uniform(0.6, 1.0, notes))
    return _voiced(pitch, formants) * _steps(loud, times, frames, 0.04)


def _spoken(frames: int, random: np.random.Generator) -> Wave:
    """Syllables: a vowel with falling pitch, hisses between some, pauses between phrases."""
    count = int(frames / SAMPLE_RATE / 0.12) + 3
    lengths = random.uniform(0.12, 0.26, count)
    times = np.concatenate(([0.0], np.cumsum(lengths)))[:-1]
    inside = np.arange(count) % 11
    tune = 125 - 3.0 * inside + random.normal(0, 8, count)
    pitch = _steps(np.clip(tune, 75, 170), times, frames, 0.1)
    vowels = _VOWELS[random.integers(0, len(_VOWELS), count)]
    formants = np.stack([_steps(one, times, frames, 0.07) for one in vowels.T])
    loud = np.where(inside >= 9, 0.0, random.uniform(0.5, 1.0, count))
    voiced = _voiced(pitch, formants) * _steps(loud, times, frames, 0.05)
    hiss = _band(random.standard_normal(frames), 3500, 9000)
    when = np.zeros(frames)
    for start, on in zip(times, random.random(count) < 0.4, strict=True):
        first = int(start * SAMPLE_RATE)
        if on and first < frames:
            hump = np.hanning(int(0.08 * SAMPLE_RATE))[: frames - first]
            when[first : first + len(hump)] = hump
    level = 0.35 * float(voiced.std()) / max(float(hiss.std()), 1e-9)
    both: Wave = voiced + level * hiss * when
    return both


def _band(wave: Wave, low: float, high: float) -> Wave:
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    kept: Wave = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), len(wave))
    return kept


def _in_a_room(vocals: Wave, share: float, random: np.random.Generator) -> Wave:
    """Early reflections and a tail of 0.4 s, unrelated left and right."""
    length = int(0.4 * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    tail = random.standard_normal((length, 2)) * decay[:, None]
    size = 2 ** int(np.ceil(np.log2(len(vocals) + length)))
    heard: Wave = np.fft.irfft(
        np.fft.rfft(vocals, size, axis=0) * np.fft.rfft(tail, size, axis=0), size, axis=0
    )[: len(vocals)]
    level = share * float(vocals.std()) / max(float(heard.std()), 1e-9)
    both: Wave = vocals + level * heard
    return both


def _roots(beats: int, kind: Kind, random: np.random.Generator) -> Iterator[int]:
    for beat in range(beats):
        yield _ROUND[beat % 4] if kind.repeats else int(random.integers(0, 12))


def _chords(frames: int, kind: Kind, random: np.random.Generator) -> Wave:
    """Plucked chords, a beat each, every note at its own place, and a soft pad far out."""
    beat = int(_BEAT * SAMPLE_RATE)
    time = np.arange(beat) / SAMPLE_RATE
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    out = np.zeros((frames + beat, 2))
    for number, root in enumerate(_roots(frames // beat + 1, kind, random)):
        for place, step in zip((-1.0, 0.6, -0.5, 0.9), _MINOR, strict=True):
            hertz = 220 * 2 ** ((root + step) / 12)
            pluck = sum(
                np.sin(2 * np.pi * hertz * k * time + k) * np.exp(-time * (1.5 + k)) / k**1.2
                for k in range(1, 9)
            )
            out[number * beat : (number + 1) * beat] += _placed(pluck * fade, place * kind.width)
        for place, detune in ((-1.0, 0.997), (1.0, 1.003)):
            hertz = 110 * 2 ** (root / 12) * detune
            pad = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3, 4))
            out[number * beat : (number + 1) * beat] += _placed(
                0.3 * pad * fade, place * kind.width
            )
    return out[:frames]


def _drums(frames: int, random: np.random.Generator, *, wide: bool) -> Wave:
    """Kick and snare in the middle, a hat a little to the side; each stroke its own noise."""
    beat = int(_BEAT * SAMPLE_RATE)
    time = np.arange(beat) / SAMPLE_RATE
    out = np.zeros((frames + 2 * beat, 2))
    kick = np.sin(2 * np.pi * (50 * time + 8 * (1 - np.exp(-time * 30)))) * np.exp(-time * 14)
    for number in range(frames // beat + 1):
        at = number * beat
        if number % 2:
            snare = _band(random.standard_normal(beat), 180, 9000) * np.exp(-time * 22)
            ring = np.sin(2 * np.pi * 190 * time) * np.exp(-time * 25)
            out[at : at + beat] += _placed(0.6 * snare + 0.5 * ring, 0.0)
        else:
            out[at : at + beat] += _placed(1.2 * kick, 0.0)
        for half in (0, beat // 2):
            hat = _band(random.standard_normal(beat), 7000, 16000) * np.exp(-time * 60)
            out[at + half : at + half + beat] += _placed(0.35 * hat, 0.4 * wide)
    return out[:frames]


def _bass(frames: int, kind: Kind, random: np.random.Generator) -> Wave:
    """A low note a beat, in the middle."""
    beat = int(_BEAT * SAMPLE_RATE)
    time = np.arange(beat) / SAMPLE_RATE
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    wave = np.zeros(frames + beat)
    for number, root in enumerate(_roots(frames // beat + 1, kind, random)):
        hertz = 55 * 2 ** (root / 12)
        note = sum(np.sin(2 * np.pi * hertz * k * time) / k**1.5 for k in (1, 2, 3, 4))
        wave[number * beat : (number + 1) * beat] = note * fade * np.exp(-time * 2)
    return _placed(wave[:frames], 0.0)
