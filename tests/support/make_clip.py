"""Makes ``docs/clip.mp3``, the song of ``make demo``: a made-up tune, nobody's property.

A singing lead in the middle over bass, chords and drums that repeat around it.  Run with
``python -m tests.support.make_clip PATH``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

RATE: Final = 44_100
BEAT: Final = 0.5
SECONDS: Final = 16.0
#: Chords (roots in semitones from A2) and the melody over them, a note each beat; None rests.
CHORDS: Final = (0, -4, 3, -2)
MELODY: Final = (
    12, 15, 19, 17, 15, None, 12, 10, 15, 19, 22, 19, 17, 15, 14, None,
    12, 15, 19, 24, 22, None, 19, 17, 15, 14, 12, None, 10, 12, 12, None,
)  # fmt: skip

Wave = NDArray[np.float64]


def _note(semitones: float, seconds: float, *, harmonics: int, decay: float) -> Wave:
    time = np.arange(int(seconds * RATE)) / RATE
    hertz = 110.0 * 2 ** (semitones / 12)
    phase = 2 * np.pi * hertz * time + 0.25 * np.sin(2 * np.pi * 5.2 * time) * (harmonics > 4)
    wave = sum(np.sin(k * phase) / k**1.2 for k in range(1, harmonics + 1))
    attack = np.minimum(1.0, time / 0.02) * np.minimum(1.0, (seconds - time) / 0.04)
    return np.asarray(wave * attack * np.exp(-decay * time))


def _drum(seed: int, *, high: bool) -> Wave:
    time = np.arange(int(0.15 * RATE)) / RATE
    if high:
        return np.random.default_rng(seed).standard_normal(time.size) * np.exp(-60 * time) * 0.5
    return np.asarray(
        np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-30 * time)))) * np.exp(-18 * time)
    )


def tune() -> Wave:
    """The clip, (frames, 2)."""
    mix = np.zeros((int((SECONDS + 1) * RATE), 2))

    def add(start: float, wave: Wave, left: float, right: float) -> None:
        at = int(start * RATE)
        mix[at : at + wave.size, 0] += wave * left
        mix[at : at + wave.size, 1] += wave * right

    for beat in range(int(SECONDS / BEAT)):
        start = beat * BEAT
        root = CHORDS[beat // 4 % len(CHORDS)]
        add(start, _note(root - 12, BEAT, harmonics=3, decay=3), 0.16, 0.12)
        for offset, left, right in ((0, 0.10, 0.02), (7, 0.02, 0.10), (3, 0.08, 0.03)):
            add(start, _note(root + offset, BEAT, harmonics=4, decay=4), left, right)
        add(start, _drum(0, high=beat % 2 == 1), 0.25, 0.2)
        add(start + BEAT / 2, _drum(1, high=True), 0.04, 0.09)
        lead = MELODY[beat % len(MELODY)]
        if beat >= 4 and lead is not None:
            add(start, _note(lead, BEAT * 1.05, harmonics=9, decay=0.8), 0.14, 0.14)
    return mix[: int(SECONDS * RATE)] / max(1.0, float(np.abs(mix).max())) * 0.8


def main(path: Path) -> None:
    """Write the clip as MP3."""
    samples = tune().astype(np.float32)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libmp3lame", rate=RATE, layout="stereo")
        stream.bit_rate = 112_000
        file.metadata.update({"title": "Demonstration in A minor", "artist": "Stembus"})
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", "stereo")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
