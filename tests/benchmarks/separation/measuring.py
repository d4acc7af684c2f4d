"""One case after the other: the same songs, the same model, nobody else on the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tests.acceptance.listening import hear
from tests.benchmarks.separation.cases import Case, Outcome, Start, Who, windows_in
from tests.benchmarks.separation.contender import Setting
from tests.benchmarks.separation.memory import PeakMemory
from tests.benchmarks.separation.rivals import (
    AudioSeparatorApi,
    AudioSeparatorCommand,
    DemucsApi,
    DemucsCommand,
)
from tests.benchmarks.separation.stembus import StembusCommand, StembusStack
from tests.benchmarks.separation.weights import NAME, WINDOW_SECONDS
from tests.support import media
from tests.support.audio import song

if TYPE_CHECKING:
    from tests.benchmarks.separation.contender import Contender, Stems

#: Seconds of the song that a warm contender has separated before the clock starts.
_WARMING_SECONDS: Final = 8
_LEVEL: Final = np.float32(0.5)


class Measured(NamedTuple):
    """What came of a case, and the stems of its first song."""

    outcome: Outcome
    stems: Stems


class Course:
    """The songs, the model, and who can be asked."""

    def __init__(self, *, folder: Path, models: Path, rivals: Path, device: str) -> None:
        self._device = device
        self._folder = folder
        self._models = models
        self._contenders: dict[tuple[Who, Start], Contender] = {
            (Who.DEMUCS, Start.COLD): DemucsCommand(),
            (Who.DEMUCS, Start.WARM): DemucsApi(),
            (Who.AUDIO_SEPARATOR, Start.COLD): AudioSeparatorCommand(rivals),
            (Who.AUDIO_SEPARATOR, Start.WARM): AudioSeparatorApi(rivals),
            (Who.STEMBUS, Start.COLD): StembusCommand(),
            (Who.STEMBUS, Start.WARM): StembusStack(),
        }

    async def measure(self, case: Case) -> Measured:
        """Do a case once."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        setting = Setting(
            models=self._models,
            model=NAME,
            folder=folder,
            workers=case.workers,
            cores=len(os.sched_getaffinity(0)),
            precision=case.precision,
            device=self._device,
        )
        songs = [self.song(case.seconds, number) for number in range(case.workers)]
        warming = [self.song(_WARMING_SECONDS, number) for number in range(case.workers)]
        with PeakMemory() as memory:
            async with self._contenders[case.who, case.start].running(setting) as running:
                if case.start is Start.WARM:
                    await running.separate(warming)
                began = perf_counter()
                stems = await running.separate(songs)
                wall = perf_counter() - began
        outcome = Outcome(
            case=case,
            wall=wall,
            windows=case.workers * windows_in(case.seconds, float(WINDOW_SECONDS)),
            pss=memory.pss,
            rss=memory.rss,
        )
        return Measured(outcome, stems[0])

    def song(self, seconds: int, number: int) -> Path:
        """A song that is made once, as float32 WAV."""
        path = self._folder / f"song-{seconds}-{number}.wav"
        if not path.exists():
            media.write_float_wav(path, song(seconds, seed=number).mix.T * _LEVEL)
        return path


def difference(ours: Stems, theirs: Stems) -> float:
    """The largest difference of two separations of the same song, of any sample of any stem."""
    return max(
        float(np.abs(hear(ours[stem]).samples - hear(theirs[stem]).samples).max()) for stem in ours
    )
