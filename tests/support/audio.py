"""Made songs: deterministic, small, and with known parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.contracts.audio import SAMPLE_RATE, Track
from shared.separation.identity import track_hash
from shared.separation.spans import Heard, heard_in

if TYPE_CHECKING:
    from shared.blobs import BlockingBlobs
    from shared.separation.windows import Span

#: Samples, (frames, 2).
Audio: TypeAlias = NDArray[np.float32]


def heard_of(audio: Audio, span: Span) -> Heard:
    """That a chunk was computed from these frames."""
    return heard_in(span, audio[span.start : span.end].astype("<f4").tobytes())


def silence(frames: int) -> Audio:
    """Nothing, (frames, 2)."""
    return np.zeros((frames, 2), np.float32)


def tone(frames: int, hertz: float, *, level: float = 0.3, pan: float = 0.5) -> Audio:
    """A sine, (frames, 2); ``pan`` 0 is left, 0.5 the middle, 1 right."""
    wave = level * np.sin(2 * np.pi * hertz * np.arange(frames) / SAMPLE_RATE)
    return np.stack((wave * (1 - pan) * 2, wave * pan * 2), axis=1).astype(np.float32)


def noise(frames: int, *, seed: int = 0, level: float = 0.1) -> Audio:
    """White noise, both channels unrelated, (frames, 2)."""
    made = np.random.default_rng(seed).standard_normal((frames, 2)) * level
    return made.astype(np.float32)


class Song(NamedTuple):
    """A mix and what it was mixed from."""

    vocals: Audio
    accompaniment: Audio

    @property
    def mix(self) -> Audio:
        """The two together."""
        return self.vocals + self.accompaniment


def song(seconds: float, *, seed: int = 0) -> Song:
    """A gliding harmonic voice in the middle over a repeating, spread-out accompaniment."""
    frames = int(seconds * SAMPLE_RATE)
    random = np.random.default_rng(seed)
    time = np.arange(frames) / SAMPLE_RATE
    glide = 220 * 2 ** (
        0.6 * np.sin(2 * np.pi * 0.13 * time) + 0.03 * np.sin(2 * np.pi * 5.5 * time)
    )
    phase = 2 * np.pi * np.cumsum(glide) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 9))
    phrases = np.clip(np.sin(2 * np.pi * time / 3.1), 0, 1) ** 0.5
    vocals = np.repeat((0.12 * voice * phrases)[:, None], 2, axis=1)

    beat = int(0.5 * SAMPLE_RATE)
    decay = np.exp(-np.arange(beat) / (0.06 * SAMPLE_RATE))
    hit = random.standard_normal((beat, 2)) * decay[:, None] * 0.15
    kick = np.sin(2 * np.pi * 60 * np.arange(beat) / SAMPLE_RATE) * decay * 0.4
    drums = np.tile(hit + kick[:, None], (frames // beat + 1, 1))[:frames]
    chords = np.zeros((frames, 2))
    for step, root in enumerate((110.0, 130.8, 98.0, 146.8)):
        on = ((time // 0.5).astype(int) % 4) == step
        for k, pan in ((2, 0.15), (3, 0.85), (5, 0.3)):
            wave = 0.06 * np.sin(2 * np.pi * root * k * time) * on
            chords += np.stack((wave * (1 - pan) * 2, wave * pan * 2), axis=1)
    return Song(vocals.astype(np.float32), (drums + chords).astype(np.float32))


def interleaved(audio: Audio) -> bytes:
    """The bytes of a track's ``audio.f32``."""
    return np.ascontiguousarray(audio, dtype="<f4").tobytes()


def track_of(audio: Audio) -> Track:
    """The track record of ``audio``, (frames, 2), measured as demucs measures it."""
    mono = audio.mean(axis=1, dtype=np.float64)
    named = track_hash()
    named.update(interleaved(audio))
    return Track(
        id=named.hexdigest(),
        frames=len(audio),
        mean=float(mono.mean()),
        std=float(mono.std(ddof=1)) if len(audio) > 1 else 0.0,
    )


def stored_track(blobs: BlockingBlobs, audio: Audio) -> Track:
    """``audio`` put into a blob store as a track."""
    track = track_of(audio)
    blobs.put(f"tracks/{track.id}/audio.f32", interleaved(audio))
    return track
