"""How loud a signal is (ITU-R BS.1770-4), measured as it streams by in bounded memory.

Integrated loudness comes from FFmpeg's ``ebur128`` filter.  Its true peak is not used: it takes
four times as long and reads what lies near half the sample rate too low.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.filter import Graph

from shared.contracts.audio import CHANNELS, SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The absolute gate: what is not louder than that is silence.
_GATE: Final = -70.0
#: The most that FFmpeg's meter shows; it stays there however loud the rest is.
_MOST: Final = 10.0
_INTEGRATED: Final = "lavfi.r128.I"
#: Annex 2 of BS.1770-4 asks for four times the rate at least: three points between two samples.
_OVERSAMPLING: Final = 4
#: Samples on either side that a point between two is made from: as many as annex 2's filter.
_REACH: Final = 6
#: Frames that are looked at, or passed over, together.
_GROUP: Final = 64


class Loudness:
    """Measures the integrated loudness of one stereo signal."""

    def __init__(self) -> None:
        self._graph = Graph()
        self._source = self._graph.add_abuffer(
            sample_rate=SAMPLE_RATE,
            format="flt",
            layout="stereo",
            time_base=Fraction(1, SAMPLE_RATE),
        )
        meter = self._graph.add("ebur128", "metadata=1:framelog=quiet")
        self._sink = self._graph.add("abuffersink")
        self._source.link_to(meter)
        meter.link_to(self._sink)
        self._graph.configure()
        self._position = 0
        self._found = _GATE

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take in the next (frames, 2) samples."""
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frame.pts = self._position
        self._position += len(samples)
        self._source.push(frame)
        self._listen()

    def integrated(self) -> float | None:
        """LUFS of all so far; None where there is no number for it.

        That is so of silence, of less than the 0.4 s that a block takes, and beyond ``_MOST``.
        """
        return self._found if _GATE < self._found < _MOST else None

    def _listen(self) -> None:
        measured = None
        while True:
            try:
                measured = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                break
        # Each frame says it of all so far: the newest is enough.
        if measured is not None and (text := measured.metadata.get(_INTEGRATED)):
            self._found = float(text)


class TruePeak:
    """Measures the largest level of one stereo signal, between its samples, too.

    The points between are computed only where neighbours are high enough that one of them could
    be the highest so far: that is hardly anywhere in music.
    """

    def __init__(self) -> None:
        self._peak = 0.0
        #: The newest frames, which have not had all that follow them.
        self._tail = np.zeros((2 * _REACH - 1, CHANNELS), np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Take in the next (frames, 2) samples."""
        self._look(np.concatenate((self._tail, samples)))

    @property
    def so_far(self) -> float:
        """The largest absolute level found, but for the last few frames."""
        return self._peak

    def peak(self) -> float:
        """The largest absolute level, 1.0 being full scale, as if silence followed."""
        tail = self._tail.copy()
        self._look(np.concatenate((tail, np.zeros((2 * _REACH - 1, CHANNELS), np.float32))))
        self._tail = tail
        return self._peak

    def _look(self, samples: NDArray[np.float32]) -> None:
        self._tail = samples[1 - 2 * _REACH :].copy()
        # Two maxima instead of all absolute values: less memory to go through.
        groups = np.arange(0, len(samples), _GROUP)
        for channel in np.ascontiguousarray(samples.T):
            # A group's points are made from its own frames and the next 2 * _REACH - 1.
            highest = np.maximum(
                np.maximum.reduceat(channel, groups), -np.minimum.reduceat(channel, groups)
            )
            self._peak = max(self._peak, float(highest.max()))
            around = np.maximum(highest, np.append(highest[1:], 0.0))
            near = np.lib.stride_tricks.sliding_window_view(channel, 2 * _REACH)
            for group in np.flatnonzero(around * _GROWTH > self._peak):
                # Again: the peak may have risen since.
                if around[group] * _GROWTH > self._peak:
                    between = near[group * _GROUP : (group + 1) * _GROUP] @ _BETWEEN
                    self._peak = max(self._peak, float(np.abs(between).max(initial=0.0)))


def decibels(level: float) -> float | None:
    """A level in dB, 1.0 being 0; None of nothing."""
    return 20 * math.log10(level) if level > 0 and math.isfinite(level) else None


def _interpolation() -> NDArray[np.float32]:
    """(2 * _REACH, _OVERSAMPLING - 1): a windowed sinc for each point between two samples."""
    points = np.arange(1, _OVERSAMPLING) / _OVERSAMPLING
    distance = np.arange(1 - _REACH, _REACH + 1)[:, None] - points
    window = np.cos(np.pi * distance / (2 * _REACH + 1)) ** 2
    made = np.sinc(distance) * window
    return np.asarray(made / made.sum(axis=0), np.float32)


_BETWEEN: Final = _interpolation()
#: How much higher than all samples around it a point between them can be.
_GROWTH: Final = float(np.abs(_BETWEEN).sum(axis=0).max())
