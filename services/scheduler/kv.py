"""The jobs' bucket for the scheduler: it waits for as long as the broker is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jetstream.connection import until_connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.typing import FilteringBoundLogger

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job
    from shared.jetstream.store import JobStore, Stored, StoredBatch


class PatientStore:
    """A ``JobStore`` whose reads and writes come to an end only with an answer.

    The scheduler has nothing better to do meanwhile, and a write that may have taken effect
    has to be repeated until it is known.
    """

    def __init__(self, store: JobStore, log: FilteringBoundLogger) -> None:
        self._store = store
        self._log = log

    async def load(self, job_id: str) -> Stored | None:
        """See ``JobStore``."""
        return await until_connected(lambda: self._store.load(job_id), self._log)

    async def write(self, job: Job, revision: int) -> int:
        """See ``JobStore``."""
        return await until_connected(lambda: self._store.write(job, revision), self._log)

    async def load_batch(self, batch_id: str) -> StoredBatch | None:
        """See ``JobStore``."""
        return await until_connected(lambda: self._store.load_batch(batch_id), self._log)

    async def write_batch(self, batch: Batch, revision: int) -> int:
        """See ``JobStore``."""
        return await until_connected(lambda: self._store.write_batch(batch, revision), self._log)

    async def remove(self, job_id: str, revision: int, request: str = "") -> int:
        """See ``JobStore``."""
        return await until_connected(
            lambda: self._store.remove(job_id, revision, request), self._log
        )

    async def remove_batch(self, batch_id: str, revision: int) -> int:
        """See ``JobStore``."""
        return await until_connected(
            lambda: self._store.remove_batch(batch_id, revision), self._log
        )

    def scan(self, after: int = 0) -> AsyncIterator[Stored | StoredBatch]:
        """See ``JobStore``; a scan that breaks off has to be begun anew by who asked for it."""
        return self._store.scan(after)
