"""taskiq in the race: tasks on JetStream, results and progress in a NATS object store."""

from __future__ import annotations

import asyncio
import base64
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import nats

from tests.benchmarks.alternatives.contender import WORKERS
from tests.benchmarks.alternatives.taskiq_app import new_broker, new_pipeline
from tests.benchmarks.child import GRACE, started
from tests.benchmarks.plane import Plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from services.cli.supervisor import Supervised
    from tests.benchmarks.alternatives.contender import Shape

#: Where taskiq-nats' object store announces what it has stored.
_STORED: Final = "$O.taskiq_results.M."


class TaskiqChain:
    """See ``Contender``."""

    ahead = (
        "its client speaks to the broker itself (as Stembus' does in the column straight to the"
        " bus), and between three tasks nobody decides; Stembus orders, fences, stores and answers"
        " eleven units, each of which can be done again by itself"
    )
    behind = (
        "each of its updates and results is an object: a look for the old one, the bytes, a"
        " description and a purge, one after another and all of them synced"
    )

    def __init__(self, name: str, shape: Shape, terms: str) -> None:
        self.name = name
        self.terms = terms
        self._shape = shape

    @asynccontextmanager
    async def running(self, folder: Path, *, workers: bool) -> AsyncIterator[RunningTaskiq]:
        """See ``Contender``."""
        plane = Plane(folder)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(plane.stop_all)
            await plane.start_broker(provisioned=False)
            nc = await nats.connect(plane.nats_url)
            stack.push_async_callback(nc.close)
            tasks = new_broker(plane.nats_url)
            await tasks.startup()
            stack.push_async_callback(tasks.shutdown)
            processes = []
            for number in range(WORKERS if workers else 0):
                module = "tests.benchmarks.alternatives.taskiq_app"
                command = [sys.executable, "-m", module, plane.nats_url]
                process = await started(folder, f"taskiq-{number}", command)
                stack.push_async_callback(process.stop, GRACE)
                processes.append(process)
            running = RunningTaskiq(plane, tasks, self._shape, nc, processes)
            await nc.subscribe(f"{_STORED}*", cb=running.on_stored)
            yield running


class RunningTaskiq:
    """See ``Running``."""

    def __init__(
        self,
        plane: Plane,
        tasks: Any,  # noqa: ANN401 - taskiq is not always there
        shape: Shape,
        nc: Client,
        processes: list[Supervised],
    ) -> None:
        self._plane = plane
        self._tasks = tasks
        self._shape = shape
        self._js = nc.jetstream()
        self._processes = processes
        self._ends: dict[str, asyncio.Event] = {}

    async def submit(self) -> str:
        """See ``Running``: the broker has confirmed it."""
        pipeline = new_pipeline(self._tasks, self._shape)
        task = await pipeline.kiq(song="a song", updates=self._shape.download)
        return str(task.task_id)

    async def ended(self, job_id: str) -> None:
        """See ``Running``: the last task's result has been stored."""
        await self._end_of(job_id).wait()

    def pids(self) -> Sequence[int]:
        """See ``Running``."""
        return [*self._plane.pids().values(), *(one.pid for one in self._processes if one.pid)]

    async def stored(self) -> int:
        """See ``Running``."""
        return sum(stream.state.last_seq for stream in await self._js.streams_info())

    async def on_stored(self, message: Msg) -> None:
        """An object's description has been written: of a result, or of progress."""
        name = base64.urlsafe_b64decode(message.subject.removeprefix(_STORED)).decode()
        self._end_of(name).set()

    def _end_of(self, job_id: str) -> asyncio.Event:
        return self._ends.setdefault(job_id, asyncio.Event())
