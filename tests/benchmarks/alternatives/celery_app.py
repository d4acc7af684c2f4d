"""The job as a Celery chain; ``python -m tests.benchmarks.alternatives.celery_app URL`` works."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from celery import Celery, chain, group

from tests.benchmarks.alternatives.contender import WORKERS

if TYPE_CHECKING:
    from tests.benchmarks.alternatives.contender import Shape

STEPS: Final = ("download", "separate", "finalize")


def new_app(url: str) -> Any:  # noqa: ANN401 - Celery ships no types
    """An application on the Redis at ``url``, set up to lose as little as it can be."""
    app = Celery("bench", broker=url, backend=url)
    app.conf.update(
        # A task is acknowledged after it, and comes again when its worker is killed.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # "Started" is stored as well: Stembus' users see it, too.
        task_track_started=True,
        broker_connection_retry_on_startup=True,
        # A client's threads share one connection for results.
        result_backend_thread_safe=True,
        worker_send_task_events=False,
    )
    for name in STEPS:
        app.task(_step, name=name, bind=True)
    return app


def new_chain(app: Any, shape: Shape) -> Any:  # noqa: ANN401 - likewise
    """A job, to be applied."""
    download, separate, finalize = (app.tasks[name] for name in STEPS)
    chunk = separate.s(shape.separate)
    return chain(
        download.s("a song", shape.download),
        chunk if shape.chunks == 1 else group([chunk] * shape.chunks),
        finalize.s(shape.finalize),
    )


def _step(task: Any, song: str | list[str], updates: int) -> str | list[str]:  # noqa: ANN401 - likewise
    for number in range(updates):
        task.update_state(state="PROGRESS", meta={"progress": (number + 1) / updates})
    return song


if __name__ == "__main__":
    options = [f"--concurrency={WORKERS}", "--loglevel=warning"]
    new_app(sys.argv[1]).worker_main(["worker", *options])
