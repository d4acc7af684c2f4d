"""A song that is separated while something is hurt, and what must be true of it afterwards."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import numpy as np

from shared.contracts.facts import Separated
from shared.contracts.live import Tick
from shared.contracts.work import Stage
from tests.acceptance.api import TERMINAL, Api, endings
from tests.acceptance.listening import hear
from tests.support.overhearing import overhearing
from tests.support.processes import freeze, thaw
from tests.support.stack import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from tests.acceptance.api import Json
    from tests.support.audio import Audio
    from tests.support.overhearing import Overheard
    from tests.support.stack import RunningStack

    Stems = Mapping[str, Audio]

#: Chunks that take the small model half a second each, so that there is a middle to strike at.
SETTINGS: Final = {"STEMBUS_WINDOWS_PER_CHUNK": "16"}
MODEL: Final = "tiny"
STEMS: Final = ("vocals", "drums")
#: Five of them.
SECONDS: Final = 45.0
#: One step of 24 bits.
QUANTIZATION: Final = 2.0**-23


class Trial:
    """One stack, one song, and everything that is said about it."""

    def __init__(self, stack: RunningStack, api: Api, heard: Overheard, path: Path) -> None:
        self.stack = stack
        self.api = api
        self.heard = heard
        self._path = path

    async def submit(self) -> str:
        """The song; its job's id."""
        job = await self.api.submit(self._path, model=MODEL, stems=STEMS)
        return str(job["id"])

    async def stems(self, job: Json) -> Stems:
        """What became of it, decoded."""
        names = [one["name"] for one in job["stems"]]
        return {name: hear(await self.api.stem(job, name)).samples for name in names}

    async def undisturbed(self) -> Stems:
        """What it is when nothing happens; nothing is kept that the next one could take."""
        await self.api.offered(MODEL)
        job = await self.api.ended(await self.submit())
        assert job["status"] == "completed", job["error"]
        stems = await self.stems(job)
        await self.forget(job["id"])
        return stems

    async def forget(self, job_id: str) -> None:
        """Remove a job that has ended, and all that was made of the song."""
        answer = await self.api.ask("DELETE", f"/v1/jobs/{job_id}")
        assert answer.status == 204, answer.body
        await eventually(lambda: not self.blobs("tracks"), "the track is gone")

    def blobs(self, folder: str) -> list[str]:
        """The files of a part of the store, unfinished ones included."""
        place = self.stack.data / "blobs" / folder
        return sorted(
            str(Path(here, name).relative_to(place))
            for here, _, names in os.walk(place)
            for name in names
        )

    def chunk(self, job_id: str, unit: str, attempt: int = 1) -> Path:
        """The file of a chunk."""
        return self.stack.data / "blobs" / "work" / job_id / str(attempt) / f"chunk-{unit}"

    async def chunk_done(self, job_id: str, count: int = 1) -> None:
        """Wait until so many of its chunks are done."""

        def enough(_: Separated) -> bool:
            return len(self.heard.done(job_id)) >= count

        await self.heard.until(Separated, enough)

    async def in_the_middle(self, job_id: str, *, unit: str = "") -> Tick:
        """Freeze the engine while it is in the middle of a chunk, of this one if one is named.

        Its last sign of life.
        """

        def midway(tick: Tick) -> bool:
            return (
                (tick.job_id, tick.stage) == (job_id, Stage.SEPARATE)
                and (tick.unit == unit or (not unit and tick.unit.isdigit()))
                and tick.fraction is not None
                and 0 < tick.fraction < 1
            )

        while True:
            tick = await self.heard.until(Tick, midway, after=len(self.heard.messages))
            engine = self.stack.engine()
            freeze(engine)
            if not self.chunk(job_id, tick.unit, tick.attempt).exists():
                return tick
            thaw(engine)

    async def assert_unharmed(
        self,
        job_id: str,
        expected: Stems,
        *,
        again: Collection[str] = (),
        twice: Collection[str] = (),
    ) -> Json:
        """It completes, once, with the right stems; only chunks ``again`` were ordered twice.

        Every other chunk was ordered once and done once, and nobody computed anything for what
        was done; chunks ``twice`` were in two hands.  Nothing temporary is left.
        """
        job = await self.api.ended(job_id)
        assert job["status"] == "completed", job["error"]
        assert endings(job) == ["completed"]
        await self.heard.flush()
        orders, done = self.heard.orders(job_id), self.heard.done(job_id)
        chunks = {str(chunk) for chunk in range(job["separation"]["chunks"])}
        assert orders.keys() == done.keys() == chunks
        assert {unit for unit in chunks if len(orders[unit]) > 1} == set(again)
        assert max(map(len, orders.values())) <= 2
        once = chunks.difference(again, twice)
        assert {unit: len(done[unit]) for unit in once} == dict.fromkeys(once, 1)
        assert {tick.unit for tick in self.heard.computed_after_done(job_id)} <= set(twice)
        stems = await self.stems(job)
        assert stems.keys() == expected.keys()
        for name, samples in stems.items():
            np.testing.assert_allclose(samples, expected[name], rtol=0, atol=QUANTIZATION)
        await self.swept(job_id)
        return job

    async def swept(self, job_id: str) -> None:
        """Wait until nothing temporary is left of it."""
        await eventually(lambda: not self.blobs(f"work/{job_id}"), "it is swept away")


@asynccontextmanager
async def trying(stack: RunningStack, path: Path) -> AsyncIterator[Trial]:
    """A trial on a stack; whatever was frozen goes on afterwards, and every job is forgotten."""
    async with aiohttp.ClientSession() as session, overhearing(stack.nats_url) as heard:
        trial = Trial(stack, Api(session, stack.url), heard, path)
        try:
            yield trial
        finally:
            for pid in stack.family():
                thaw(pid)
        jobs = (await trial.api.ask("GET", "/v1/jobs")).json["jobs"]
        for job in jobs:
            if job["status"] not in TERMINAL:  # of a trial that has failed
                await trial.api.ask("POST", f"/v1/jobs/{job['id']}/cancel")
                await trial.api.ended(job["id"])
        for job in jobs:
            await trial.forget(job["id"])
