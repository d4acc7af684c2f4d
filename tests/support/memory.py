"""The mailbox, the speaker and the jobs' bucket in memory, as faithful as their contracts say."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from shared.jetstream.store import ConflictError, Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from shared.contracts.job import Job

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
                while not self._waiting:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return ()
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        for letter in taken:
            letter.deliveries += 1
            self.keep(letter)
        return [MemoryDelivery(self, letter) for letter in taken]

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
    """The jobs' bucket: records by id, writes that are compare-and-set."""

    def __init__(self, *jobs: Job) -> None:
        self._records: dict[str, tuple[int, Job | None]] = {}
        self._revision = 0
        #: Called before each write: a test's chance to be somebody else.
        self.before_write: Callable[[], None] = lambda: None
        for job in jobs:
            self.put(job)

    def put(self, job: Job) -> int:
        """Write without asking."""
        self._revision += 1
        self._records[job.id] = (self._revision, job)
        return self._revision

    def job(self, job_id: str) -> Job | None:
        """The record as it is."""
        return self._records.get(job_id, (0, None))[1]

    async def load(self, job_id: str) -> Stored | None:
        """See ``JobStore``."""
        found = self._records.get(job_id)
        return Stored(job_id, *found) if found else None

    async def get(self, job_id: str) -> Job | None:
        """See ``JobStore``."""
        return self.job(job_id)

    async def write(self, job: Job, revision: int) -> int:
        """See ``JobStore``."""
        self.before_write()
        if self._records.get(job.id, (0, None))[0] != revision:
            raise ConflictError(job.id)
        return self.put(job)

    async def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        """See ``JobStore``."""
        for job_id, (revision, job) in sorted(
            self._records.items(), key=lambda record: record[1][0]
        ):
            if revision > after:
                yield Stored(job_id, revision, job)
