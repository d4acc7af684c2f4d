"""What a user would pick instead: the ``demucs`` command, ``audio-separator``, and their APIs."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.separation.program import Kept, environment, kept, run
from tests.support.models import FOUR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.benchmarks.separation.contender import Running, Setting, Stems

_KEPT: Final = Path(__file__).parent / "kept"


class DemucsCommand:
    """``demucs``, once for each song; several side by side share the cores out."""

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        yield _DemucsCommands(setting)


class _DemucsCommands:
    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        setting = self._setting
        command = str(Path(sys.executable).with_name("demucs"))
        async with asyncio.TaskGroup() as group:
            for number, song in enumerate(songs):
                words = (
                    command, "-n", setting.model, "--repo", str(setting.models),
                    "-d", setting.device, "--shifts", "0", "--float32", "--clip-mode", "none",
                    "-o", str(setting.folder), str(song),
                )  # fmt: skip
                log = setting.folder / f"demucs-{number}.log"
                group.create_task(run(words, log, environment(setting.threads)))
        folders = (setting.folder / setting.model / song.stem for song in songs)
        return [{stem: folder / f"{stem}.wav" for stem in FOUR} for folder in folders]


class DemucsApi:
    """``demucs.api.Separator`` with its model loaded: a process for each worker."""

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        script = str(_KEPT / "demucs_api.py")
        words = (sys.executable, script, str(setting.models), setting.model, setting.device)
        async with _workers(words, setting, environment(setting.threads)) as programs:
            yield _DemucsApis(programs, setting)


class _DemucsApis:
    def __init__(self, programs: Sequence[Kept], setting: Setting) -> None:
        self._programs = programs
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        folders = [self._setting.folder / song.stem for song in songs]
        async with asyncio.TaskGroup() as group:
            for program, song, folder in zip(self._programs, songs, folders, strict=True):
                group.create_task(program.ask(song=str(song), out=str(folder)))
        return [{stem: folder / f"{stem}.wav" for stem in FOUR} for folder in folders]


class AudioSeparatorCommand:
    """``audio-separator``, once for each song."""

    def __init__(self, rivals: Path) -> None:
        self._bin = rivals / "bin"

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        yield _AudioSeparatorCommands(self._bin, setting)


class _AudioSeparatorCommands:
    def __init__(self, programs: Path, setting: Setting) -> None:
        self._bin = programs
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        setting = self._setting
        async with asyncio.TaskGroup() as group:
            for number, song in enumerate(songs):
                names = {stem.capitalize(): f"{song.stem}-{stem}" for stem in FOUR}
                words = (
                    str(self._bin / "audio-separator"), str(song), "-m", f"{setting.model}.yaml",
                    "--model_file_dir", str(setting.models), "--output_dir", str(setting.folder),
                    "--output_format", "WAV", "--normalization", "1.0",
                    "--demucs_shifts", "0", "--custom_output_names", json.dumps(names),
                )  # fmt: skip
                log = setting.folder / f"audio-separator-{number}.log"
                group.create_task(run(words, log, environment(setting.threads, self._bin)))
        return [_named(setting.folder, song) for song in songs]


class AudioSeparatorApi:
    """``audio_separator.Separator``: a process for each worker."""

    def __init__(self, rivals: Path) -> None:
        self._bin = rivals / "bin"

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        words = (
            str(self._bin / "python"), str(_KEPT / "audio_separator_api.py"),
            str(setting.models), setting.model, str(setting.folder),
        )  # fmt: skip
        environ = environment(setting.threads, self._bin)
        async with _workers(words, setting, environ) as programs:
            yield _AudioSeparatorApis(programs, setting)


class _AudioSeparatorApis:
    def __init__(self, programs: Sequence[Kept], setting: Setting) -> None:
        self._programs = programs
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        async with asyncio.TaskGroup() as group:
            for program, song in zip(self._programs, songs, strict=True):
                group.create_task(program.ask(song=str(song), name=song.stem))
        return [_named(self._setting.folder, song) for song in songs]


def _named(folder: Path, song: Path) -> Stems:
    return {stem: folder / f"{song.stem}-{stem}.wav" for stem in FOUR}


@asynccontextmanager
async def _workers(
    words: Sequence[str], setting: Setting, environ: dict[str, str]
) -> AsyncIterator[list[Kept]]:
    """A kept program for each worker."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                kept(words, setting.folder / f"kept-{number}.log", environ)
            )
            for number in range(setting.workers)
        ]
