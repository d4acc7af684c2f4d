"""Stems on the user's disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.cli.client import Filter
from services.cli.plain import file_name
from services.cli.show.words import song
from shared.contracts.job import Status

if TYPE_CHECKING:
    from pathlib import Path

    from services.cli.client import Client
    from shared.contracts.snapshot import Snapshot


async def save(client: Client, job: Snapshot, folder: Path) -> list[Path]:
    """Save a completed job's stems into ``folder``; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    # A stem's name comes from a model, and a model from anywhere.
    paths = [
        folder / f"{file_name(stem.name)}.{job.options.format.extension}" for stem in job.stems
    ]
    for stem, path in zip(job.stems, paths, strict=True):
        await client.download(job, stem.name, path)
    return paths


class BatchSaver:
    """Saves each song of a batch into a folder of its own, as soon as it is done.

    It works beside the one who listens, so that a slow disk does not stall live events.
    """

    def __init__(self, client: Client, batch_id: str, out: Path) -> None:
        self._client = client
        self._batch_id = batch_id
        self._out = out
        #: The files that are there.
        self.saved: list[Path] = []
        self._seen: set[str] = set()
        self._queue: asyncio.Queue[Snapshot | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def offer(self, job: Snapshot) -> None:
        """Have a job's stems saved, if there are some and nobody has offered it before."""
        if job.status is Status.COMPLETED and job.id not in self._seen:
            self._seen.add(job.id)
            self._queue.put_nowait(job)

    async def finish(self) -> None:
        """Wait until everything is saved that the batch has made."""
        async for page in self._client.pages(Filter(batch=self._batch_id), None):
            for job in page.jobs:
                self.offer(job)
        self._queue.put_nowait(None)
        await self._task

    async def stop(self) -> None:
        """Leave what is not saved yet."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while (job := await self._queue.get()) is not None:
            self.saved += await save(self._client, job, self._out / folder_of(job))


def folder_of(job: Snapshot) -> str:
    """A folder's name for one job among several: in the order of its batch, and its own."""
    number = job.id.rpartition("-")[2] if job.batch else ""
    named = f"{int(number) + 1:03d} {song(job)}" if number.isdecimal() else f"{song(job)} {job.id}"
    return file_name(named)
