"""Stembus as its users have it: the command, or a running stack."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from shared.contracts.audio import AudioFormat
from tests.acceptance.api import Api
from tests.benchmarks.separation.program import run
from tests.support.models import FOUR
from tests.support.stack import command_line, environment, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.benchmarks.separation.contender import Running, Setting, Stems

#: As the others write them: exactly what was computed.
FORMAT = AudioFormat.WAV32F


class StembusCommand:
    """``stembus separate``: it starts a stack for the while."""

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        yield _Commands(setting)


class _Commands:
    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        setting = self._setting
        (song,) = songs
        out = setting.folder / "out"
        words = (
            "separate", str(song), "--out", str(out), "--data", str(setting.folder / "data"),
            "--model", setting.model, "--stems", ",".join(FOUR), "--format", FORMAT.value,
            "--precision", setting.precision.value,
        )  # fmt: skip
        environ = environment(setting.folder, _settings(setting))
        await run(command_line(*words), setting.folder / "stembus.log", environ)
        return [{stem: out / f"{stem}.{FORMAT.extension}" for stem in FOUR}]


class StembusStack:
    """``stembus up``, with a separator for each worker."""

    @asynccontextmanager
    async def running(self, setting: Setting) -> AsyncIterator[Running]:
        """See ``Contender``."""
        with running_stack(
            setting.folder / "data",
            models=setting.models,
            settings=_settings(setting),
            separators=setting.workers,
        ) as stack:
            async with aiohttp.ClientSession() as session:
                api = Api(session, stack.url)
                await api.offered(setting.model)
                yield _Stack(api, stack.data / "blobs" / "results", setting)


class _Stack:
    def __init__(self, api: Api, results: Path, setting: Setting) -> None:
        self._api = api
        self._results = results
        self._setting = setting

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        return list(await asyncio.gather(*(self._separate(song) for song in songs)))

    async def _separate(self, song: Path) -> Stems:
        job = await self._api.submit(
            song,
            model=self._setting.model,
            stems=FOUR,
            format=FORMAT.value,
            precision=self._setting.precision.value,
        )
        # No time limit of a test's: a long song takes as long as it takes.
        async with self._api.session.get(
            f"{self._api.url}/v1/jobs/{job['id']}/events", timeout=aiohttp.ClientTimeout(total=None)
        ) as events:
            async for _ in events.content:
                pass
        ended = await self._api.job(job["id"])
        if ended["status"] != "completed":
            raise RuntimeError(f"{song.name}: {ended['error']}")
        folder = self._results / ended["result"]
        return {stem: folder / f"{stem}.{FORMAT.extension}" for stem in FOUR}


def _settings(setting: Setting) -> dict[str, str]:
    return {
        "STEMBUS_TORCH_THREADS": str(setting.threads),
        "STEMBUS_MODELS_DIR": str(setting.models),
        "STEMBUS_DEVICE": setting.device,
    }
