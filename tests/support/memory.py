"""The mailbox, the speaker and the jobs' bucket in memory, as faithful as their contracts say."""

from __future__ import annotations

import asyncio
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from shared.contracts.batch import Batch
from shared.contracts.job import Job
from shared.contracts.work import ExpandWork, WorkBase
from shared.jetstream.store import BATCHES, ConflictError, Stored, StoredBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

W = TypeVar("W")


class _Letter:
    """One message in the queue; settled when it is ``gone``."""

    def __init__(self, subject: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.subject = subject
        self.body = body
        self.headers = headers
        self.deliveries = 0
        self.gone = False
        #: Which handing-out is the current one, and the timer that ends it.
        self.lapse: asyncio.TimerHandle | None = None


class MemoryDelivery:
    """A ``Delivery`` of a ``MemoryMailbox``."""

    def __init__(self, mailbox: MemoryMailbox, letter: _Letter) -> None:
        self._mailbox = mailbox
        self._letter = letter
        self._deliveries = letter.deliveries
        #: What was done with it, in order.
        self.settled: list[str] = []

    @property
    def subject(self) -> str:
        """See ``Delivery``."""
        return self._letter.subject

    @property
    def body(self) -> bytes:
        """See ``Delivery``."""
        return self._letter.body

    @property
    def headers(self) -> Mapping[str, str]:
        """See ``Delivery``."""
        return self._letter.headers

    @property
    def deliveries(self) -> int:
        """See ``Delivery``."""
        return self._deliveries

    async def ack(self) -> None:
        """See ``Delivery``."""
        self._mailbox.record("ack", self)
        self._mailbox.forget(self._letter)

    async def nak(self, delay: float = 0.0) -> None:
        """See ``Delivery``."""
        self._mailbox.record("nak", self)
        self._mailbox.hand_back(self._letter, delay)

    async def discard(self) -> None:
        """See ``Delivery``."""
        self._mailbox.record("discard", self)
        self._mailbox.forget(self._letter)

    async def in_progress(self) -> None:
        """See ``Delivery``."""
        self._mailbox.record("in_progress", self)
        self._mailbox.keep(self._letter)


class MemoryMailbox:
    """A ``Mailbox``: messages are handed out, and again when nobody settles them in time."""

    def __init__(self, ack_wait: float = 30.0) -> None:
        self._ack_wait = ack_wait
        self._waiting: deque[_Letter] = deque()
        self._stored: list[_Letter] = []
        self._news = asyncio.Event()
        self._closed = False
        self._watched: list[tuple[Callable[[], bool], asyncio.Event]] = []
        #: Every settlement: what, of which subject.
        self.settled: list[tuple[str, str]] = []

    @property
    def stored(self) -> int:
        """Messages that are not done yet, those handed out included."""
        return len(self._stored)

    def put(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Store a message."""
        letter = _Letter(subject, body, headers or {})
        self._stored.append(letter)
        self._offer(letter)

    async def fetch(self, limit: int, timeout: float) -> Sequence[MemoryDelivery]:  # noqa: ASYNC109 - see Mailbox
        """See ``Mailbox``."""
        try:
            async with asyncio.timeout(timeout):
                while not (self._waiting or self._closed):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return ()
        if self._closed:
            return ()
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        for letter in taken:
            letter.deliveries += 1
            self.keep(letter)
        return [MemoryDelivery(self, letter) for letter in taken]

    def another(self) -> MemoryMailbox:
        """One more mailbox of the same messages."""
        twin = copy(self)
        twin._closed = False
        return twin

    async def close(self) -> None:
        """See ``Mailbox``."""
        self._closed = True
        self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until a settlement has made ``true`` so."""
        if not true():
            event = asyncio.Event()
            self._watched.append((true, event))
            await event.wait()

    def record(self, what: str, delivery: MemoryDelivery) -> None:
        """Remember a settlement, and tell who waits for it."""
        delivery.settled.append(what)
        self.settled.append((what, delivery.subject))
        for true, event in self._watched:
            if true():
                event.set()

    def forget(self, letter: _Letter) -> None:
        """It is done, whoever says so: a stale worker's ack counts, as with JetStream."""
        self._stop_clock(letter)
        letter.gone = True
        if letter in self._stored:
            self._stored.remove(letter)
        if letter in self._waiting:
            self._waiting.remove(letter)

    def hand_back(self, letter: _Letter, delay: float) -> None:
        """Offer it again, after ``delay``."""
        self._stop_clock(letter)
        if delay:
            asyncio.get_running_loop().call_later(delay, self._offer, letter)
        else:
            self._offer(letter)

    def keep(self, letter: _Letter) -> None:
        """Start its time anew."""
        self._stop_clock(letter)
        if not letter.gone:
            loop = asyncio.get_running_loop()
            letter.lapse = loop.call_later(self._ack_wait, self._offer, letter)

    @staticmethod
    def _stop_clock(letter: _Letter) -> None:
        if letter.lapse is not None:
            letter.lapse.cancel()
            letter.lapse = None

    def _offer(self, letter: _Letter) -> None:
        if not letter.gone and letter not in self._waiting:
            self._waiting.append(letter)
            self._news.set()


class MemorySpeaker(Generic[W]):
    """A ``Speaker`` that remembers."""

    def __init__(self) -> None:
        self.said: list[W] = []

    async def say(self, word: W) -> None:
        """See ``Speaker``."""
        self.said.append(word)


class MemoryStore:
    """The jobs' bucket: records by key, compare-and-set writes, markers of what is gone."""

    def __init__(self, *records: Job | Batch) -> None:
        self._records: dict[str, tuple[int, Job | Batch | None, str]] = {}
        self._revision = 0
        #: Called before each write: a test's chance to be somebody else, or to break off.
        self.before_write: Callable[[], None] = lambda: None
        #: Called after each write, before anyone learns of it.
        self.after_write: Callable[[], None] = lambda: None
        for record in records:
            self.put(record)

    def put(self, record: Job | Batch) -> int:
        """Write without asking."""
        return self._put(_key(record), record)

    def forget_marker(self, job_id: str) -> None:
        """A day has passed: the marker of a removed job is gone."""
        assert self._records[job_id][1] is None
        del self._records[job_id]

    def job(self, job_id: str) -> Job | None:
        """The record as it is."""
        found = self._records.get(job_id, _NOTHING)[1]
        assert not isinstance(found, Batch)
        return found

    def batch(self, batch_id: str) -> Batch | None:
        """The same of a batch."""
        found = self._records.get(BATCHES + batch_id, _NOTHING)[1]
        assert not isinstance(found, Job)
        return found

    def jobs(self) -> list[Job]:
        """Every job there is."""
        return [record for _, record, _ in self._records.values() if isinstance(record, Job)]

    async def load(self, job_id: str) -> Stored | None:
        """See ``JobStore``."""
        if job_id not in self._records:
            return None
        revision, _, request = self._records[job_id]
        return Stored(job_id, revision, self.job(job_id), request)

    async def load_batch(self, batch_id: str) -> StoredBatch | None:
        """See ``JobStore``."""
        found = self._records.get(BATCHES + batch_id)
        return StoredBatch(batch_id, found[0], self.batch(batch_id)) if found else None

    async def ordering(self, work: WorkBase) -> Job | Batch | None:
        """See ``JobStore``."""
        return self.batch(work.job_id) if isinstance(work, ExpandWork) else self.job(work.job_id)

    async def write(self, job: Job, revision: int) -> int:
        """See ``JobStore``."""
        return self._swap(job.id, job, revision)

    async def write_batch(self, batch: Batch, revision: int) -> int:
        """See ``JobStore``."""
        return self._swap(BATCHES + batch.id, batch, revision)

    async def remove(self, job_id: str, revision: int, request: str = "") -> int:
        """See ``JobStore``."""
        return self._swap(job_id, None, revision, request)

    async def remove_batch(self, batch_id: str, revision: int) -> int:
        """See ``JobStore``."""
        return self._swap(BATCHES + batch_id, None, revision)

    async def scan(self, after: int = 0) -> AsyncIterator[Stored | StoredBatch]:
        """See ``JobStore``."""
        newest = sorted(self._records.items(), key=lambda record: record[1][0])
        for key, (revision, record, request) in newest:
            if revision <= after:
                continue
            if key.startswith(BATCHES):
                assert not isinstance(record, Job)
                yield StoredBatch(key.removeprefix(BATCHES), revision, record)
            else:
                assert not isinstance(record, Batch)
                yield Stored(key, revision, record, request)

    def _swap(self, key: str, record: Job | Batch | None, revision: int, request: str = "") -> int:
        self.before_write()
        known = self._records.get(key, _NOTHING)
        if known[0] != revision:
            if known[0] and known[1] == record:
                return known[0]  # its confirmation may have got lost
            raise ConflictError(key)
        self._put(key, record, request)
        self.after_write()
        return self._revision

    def _put(self, key: str, record: Job | Batch | None, request: str = "") -> int:
        self._revision += 1
        self._records[key] = (self._revision, record, request)
        return self._revision


_NOTHING: Final = (0, None, "")


def _key(record: Job | Batch) -> str:
    return BATCHES + record.id if isinstance(record, Batch) else record.id
