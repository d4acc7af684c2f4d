"""What is compared: one job's life, on Stembus and on what a user would pick instead.

A job is three steps, ``download``, ``separate`` and ``finalize``, that do nothing but say how
far they are.  A client hands it in, and has it once the broker has it on its disk; the broker
syncs every write (nats-server ``sync_interval: always``, Redis ``appendfsync always``).  A job
has ended when a client that listens has been told so.

The jobs are alike, and can't be the same:

- Stembus cuts ``separate`` into eight chunks, each an order of its own that can be done again by
  itself, and stores a record at every transition of a job.  Other progress
  travels as ticks, which are not stored.
- A chain's ``separate`` is one task that stores eight updates (``CHAIN``): as many stored states
  to look at, but nothing to resume from; it starts anew when its worker is killed.
- That is how a chain shows progress in its other steps, too: ``CHATTY`` stores eight updates in
  every step.
- What comes nearest to Stembus' units of retry is a task for each chunk (``CHUNKED``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


class Shape(NamedTuple):
    """How often each step of a job stores how far it is."""

    download: int
    separate: int
    finalize: int
    #: Tasks that ``separate`` is split into, each of which says so often how far it is.
    chunks: int = 1


CHAIN: Final = Shape(0, 8, 0)
CHATTY: Final = Shape(8, 8, 8)
CHUNKED: Final = Shape(0, 0, 0, chunks=8)
#: Worker processes of an alternative: one a core of the smallest machine that this is for.
WORKERS: Final = 2


class Running(Protocol):
    """A system that takes jobs."""

    async def submit(self) -> str:
        """Hand a job in; its id once it is stored durably."""

    async def ended(self, job_id: str) -> None:
        """Wait until this job is known to have ended well."""

    def pids(self) -> Sequence[int]:
        """Its processes, children of theirs not included."""

    async def stored(self) -> int:
        """How much its broker has stored since it was made: messages, records, updates."""


class Contender(Protocol):
    """A system that can be started."""

    name: str
    #: What it stores and what it promises, for people.
    terms: str
    #: Why it is ahead of Stembus, where it is; why it is behind, where it is.
    ahead: str
    behind: str

    def running(self, folder: Path, *, workers: bool) -> AbstractAsyncContextManager[Running]:
        """The system with its state in ``folder``; without ``workers`` jobs only queue up."""
