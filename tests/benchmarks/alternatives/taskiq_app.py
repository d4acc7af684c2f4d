"""The job as a taskiq pipeline; ``python -m`` this, with the broker's URL, is a worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from taskiq import TaskiqDepends
from taskiq.api import run_receiver_task
from taskiq.depends.progress_tracker import ProgressTracker
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker
from taskiq_pipelines import Pipeline, PipelineMiddleware

from tests.benchmarks.alternatives.contender import Shape

STEPS: Final = ("download", "separate", "finalize")
_PROGRESS: Final = TaskiqDepends()


def new_broker(url: str) -> Any:  # noqa: ANN401 - taskiq is not always there
    """Tasks on the NATS server at ``url``; a work queue, results in an object store."""
    broker = PullBasedJetStreamBroker(
        url,
        # By default the stream keeps every task for ever.
        stream_config=StreamConfig(retention=RetentionPolicy.WORK_QUEUE),
        consumer_config=ConsumerConfig(durable_name="taskiq"),
        durable="taskiq",
    )
    broker = broker.with_result_backend(NATSObjectStoreResultBackend(url))
    broker.add_middlewares(PipelineMiddleware())
    for name in STEPS:
        broker.register_task(_step, task_name=name)
    return broker


def new_pipeline(broker: Any, shape: Shape) -> Any:  # noqa: ANN401 - likewise
    """A job; its first step wants ``song`` and ``updates``."""
    download, separate, finalize = (broker.find_task(name) for name in STEPS)
    return (
        Pipeline(broker, download)
        .call_next(separate, updates=shape.separate)
        .call_next(finalize, updates=shape.finalize)
    )


async def _step(song: str, updates: int, progress: ProgressTracker[float] = _PROGRESS) -> str:
    for number in range(updates):
        await progress.set_progress("PROGRESS", (number + 1) / updates)
    return song


async def _work(url: str) -> None:
    worker = asyncio.create_task(run_receiver_task(new_broker(url), run_startup=True))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.cancel)
    await asyncio.wait({worker})


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
