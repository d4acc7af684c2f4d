"""What is measured: which contender, started how, over how much audio, by how many workers."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from shared.contracts.audio import SAMPLE_RATE, Precision
from shared.separation.windows import stride_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Who(StrEnum):
    """A contender."""

    DEMUCS = "demucs"
    AUDIO_SEPARATOR = "audio-separator"
    #: From a file to its stems: all services.
    STEMBUS = "Stembus"


class Start(StrEnum):
    """What has happened before the clock starts."""

    #: Nothing: the time of processes that start is in it.
    COLD = "cold"
    #: Everything runs, and has separated a song with this model.
    WARM = "warm"


class Case(Struct, frozen=True, kw_only=True):
    """One measurement, to be repeated."""

    who: Who
    start: Start
    #: Seconds of each song; there are as many songs as workers.
    seconds: int
    workers: int = 1
    precision: Precision = Precision.EXACT

    @property
    def id(self) -> str:
        """Names it: what ``--only`` looks into."""
        return f"{self.who} {self.start} {self.precision} {self.seconds}s x{self.workers}"

    @property
    def heat(self) -> tuple[int, int]:
        """Cases with the same heat have the same songs to do."""
        return self.seconds, self.workers


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a case, once."""

    case: Case
    #: Seconds on the wall, for all songs.
    wall: float
    #: Windows of all songs.
    windows: int
    #: Most bytes that all its processes held at one time: each shared page is counted once
    #: (PSS); and counted in every process that has it (RSS).
    pss: int
    rss: int


#: Everything that can be measured at one length.
ENTRIES: Final = (
    (Who.DEMUCS, Start.COLD, Precision.EXACT),
    (Who.AUDIO_SEPARATOR, Start.COLD, Precision.EXACT),
    (Who.STEMBUS, Start.COLD, Precision.EXACT),
    (Who.DEMUCS, Start.WARM, Precision.EXACT),
    (Who.AUDIO_SEPARATOR, Start.WARM, Precision.EXACT),
    (Who.STEMBUS, Start.WARM, Precision.EXACT),
    (Who.STEMBUS, Start.WARM, Precision.FAST),
)
#: From this length on a start is a small part of the whole: once, and only the starts of the
#: two that a user would choose between.
LONG_SECONDS: Final = 120
_LONG_COLD: Final = (Who.DEMUCS, Who.STEMBUS)


def cases(lengths: Sequence[int], workers: Sequence[int], *, full: bool) -> Iterator[Case]:
    """Heat by heat.  Unless ``full``, what says nothing new is left out."""
    for seconds in lengths:
        for count in workers:
            for who, start, precision in ENTRIES:
                case = Case(
                    who=who, start=start, seconds=seconds, workers=count, precision=precision
                )
                # Two commands are two machines' work; Stembus' own would start one stack each.
                if (full or _worthwhile(case)) and (count == 1 or start is Start.WARM):
                    yield case


def _worthwhile(case: Case) -> bool:
    long = case.seconds >= LONG_SECONDS
    if case.workers > 1:
        return not long
    return not long or case.start is Start.WARM or case.who in _LONG_COLD


def rounds_of(case: Case, rounds: int) -> int:
    """How often it is measured: what takes long varies little."""
    return 1 if case.seconds >= LONG_SECONDS or case.workers > 1 else rounds


def windows_in(seconds: int, window_seconds: float) -> int:
    """Windows that a song is cut into by everybody: they start each 75 % of a window."""
    stride = stride_frames(int(window_seconds * SAMPLE_RATE))
    return math.ceil(seconds * SAMPLE_RATE / stride)
