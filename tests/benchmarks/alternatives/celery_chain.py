"""Celery in the race: Redis as broker and result backend, a chain of three tasks."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio

from services.cli.ports import free_port
from tests.benchmarks.alternatives.celery_app import new_app, new_chain
from tests.benchmarks.child import GRACE, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from services.cli.supervisor import Supervised
    from tests.benchmarks.alternatives.contender import Shape

#: Every write is on the disk before it is answered; no snapshots beside that.
_REDIS: Final = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
_META: Final = "celery-task-meta-"
_SUCCESS: Final = b'"status": "SUCCESS"'
_LOOK_SECONDS: Final = 0.02


def redis_server() -> str | None:
    """The Redis server on the PATH."""
    return shutil.which("redis-server")


class CeleryChain:
    """See ``Contender``."""

    ahead = (
        "its client speaks to the broker itself (as Stembus' does in the column straight to the"
        " bus); between its tasks nobody decides, a task's end is a result and the next message;"
        " and its updates overwrite a key, where Stembus orders each chunk, fences it, stores the"
        " worker's fact and then the record, all of it so that a chunk can be done again by itself"
    )
    behind = (
        "a process waits for the sync of each update and each result before it goes on, and there"
        " are two; a task goes from Redis through a parent process to a child, and back; and the"
        " client is synchronous, so that its submissions share one interpreter lock"
    )

    def __init__(self, name: str, shape: Shape, terms: str) -> None:
        self.name = name
        self.terms = terms
        self._shape = shape

    @asynccontextmanager
    async def running(self, folder: Path, *, workers: bool) -> AsyncIterator[RunningCelery]:
        """See ``Contender``."""
        await asyncio.to_thread(folder.mkdir, parents=True)
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        place = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
        async with AsyncExitStack() as stack:
            command = [redis_server() or "redis-server", *place, *_REDIS]
            processes = [await started(folder, "redis", command)]
            stack.push_async_callback(processes[0].stop, GRACE)
            client = await stack.enter_async_context(redis.asyncio.Redis.from_url(url))
            await _until_up(client)
            if workers:
                module = "tests.benchmarks.alternatives.celery_app"
                command = [sys.executable, "-m", module, url]
                processes.append(await started(folder, "celery", command))
                stack.push_async_callback(processes[1].stop, GRACE)
            yield await stack.enter_async_context(
                _listening(RunningCelery(url, self._shape, client, processes))
            )


class RunningCelery:
    """See ``Running``."""

    def __init__(
        self,
        url: str,
        shape: Shape,
        client: Any,  # noqa: ANN401 - redis is not always there
        processes: list[Supervised],
    ) -> None:
        self._app = new_app(url)
        # Made here and now: threads that ask for it at once would make one each.
        self._consumer = self._app.backend.result_consumer
        self._shape = shape
        self._client = client
        self._processes = processes
        self._ends: dict[str, asyncio.Event] = {}

    async def submit(self) -> str:
        """See ``Running``: Redis has answered."""
        return await asyncio.to_thread(self._kick)

    async def ended(self, job_id: str) -> None:
        """See ``Running``: the last task's result has been published."""
        await self._end_of(job_id).wait()

    def pids(self) -> Sequence[int]:
        """See ``Running``."""
        return [process.pid for process in self._processes if process.pid]

    async def stored(self) -> int:
        """See ``Running``: changes of keys, those by pops and acknowledgements included."""
        about = await self._client.info("persistence")
        return int(about["rdb_changes_since_last_save"])

    async def listen(self, begun: asyncio.Event) -> None:
        """Hear of every task's end."""
        async with self._client.pubsub() as ends:
            await ends.psubscribe(f"{_META}*")
            begun.set()
            async for message in ends.listen():
                if message["type"] == "pmessage" and _SUCCESS in message["data"]:
                    self._end_of(json.loads(message["data"])["task_id"]).set()

    def close(self) -> None:
        """Let go of Redis while it is there."""
        # A result that is collected later must find nothing to say goodbye to.
        self._consumer.stop()
        self._consumer.subscribed_to.clear()
        self._app.close()

    def _kick(self) -> str:
        return str(new_chain(self._app, self._shape).apply_async().id)

    def _end_of(self, job_id: str) -> asyncio.Event:
        return self._ends.setdefault(job_id, asyncio.Event())


@asynccontextmanager
async def _listening(running: RunningCelery) -> AsyncIterator[RunningCelery]:
    begun = asyncio.Event()
    listener = asyncio.create_task(running.listen(begun))
    await begun.wait()
    try:
        yield running
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
        running.close()


async def _until_up(client: Any) -> None:  # noqa: ANN401 - redis is not always there
    while True:
        try:
            await client.ping()
        except redis.exceptions.ConnectionError:
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return
