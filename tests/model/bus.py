"""The bus in memory, as faithful as matters here: what is dropped, replaced, purged, said twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.contracts.commands import Reply
from shared.contracts.subjects import id_of, subject_of, waiting_work
from shared.contracts.work import StopOrder, WorkBase
from shared.jetstream.topology import DUPLICATES_SECONDS

if TYPE_CHECKING:
    from datetime import datetime

    from shared.contracts.commands import Answer, Command
    from shared.contracts.facts import Fact
    from shared.contracts.work import Work
    from tests.support.realm import Clock

_WINDOW: Final = timedelta(seconds=DUPLICATES_SECONDS)


class Letter(NamedTuple):
    """A message of the inbox, there until it is acknowledged."""

    number: int
    message: Command | Fact


class Order(NamedTuple):
    """A message of the work queue, there until it is acknowledged."""

    number: int
    work: Work


class Bus:
    """INBOX and WORK, their duplicate windows, and who was answered what."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._number = 0
        self._ids: dict[str, datetime] = {}
        self.inbox: dict[int, Letter] = {}
        #: By subject: one message a unit.
        self.work: dict[str, Order] = {}
        #: Every piece of work there ever was.
        self.ordered: list[Work] = []
        self.answers: dict[str, list[Answer]] = {}
        #: Every word, as often as it was said.
        self.said: list[object] = []

    def send(self, message: Command | Fact, *, again: bool = False) -> None:
        """Store a command or a fact; ``again``: so late that the broker has forgotten its id."""
        if again or self._is_new(f"inbox/{id_of(message)}"):
            self._number += 1
            self.inbox[self._number] = Letter(self._number, message)

    def say(self, word: Work | StopOrder | Reply) -> None:
        """What ``JetStreamSpeaker`` makes of a word."""
        self.said.append(word)
        match word:
            case Reply():
                self.answers.setdefault(word.to, []).append(word.answer)
            case StopOrder():
                for pattern in waiting_work(word.job_id):
                    prefix = pattern.removesuffix(">")
                    for subject in [one for one in self.work if one.startswith(prefix)]:
                        del self.work[subject]
            case WorkBase():
                self._order(word)

    def ack(self, number: int) -> None:
        """Forget a letter or an order."""
        self.inbox.pop(number, None)
        for subject, order in tuple(self.work.items()):
            if order.number == number:
                del self.work[subject]

    def _order(self, work: Work) -> None:
        subject, identity = subject_of(work), f"work/{id_of(work)}"
        if not self._would_be_new(identity):
            return
        known = self.work.get(subject)
        if known is not None and known.work.attempt >= work.attempt:
            return
        self._ids[identity] = self._clock.now
        self._number += 1
        self.work[subject] = Order(self._number, work)
        self.ordered.append(work)

    def _is_new(self, identity: str) -> bool:
        new = self._would_be_new(identity)
        if new:
            self._ids[identity] = self._clock.now
        return new

    def _would_be_new(self, identity: str) -> bool:
        known = self._ids.get(identity)
        return known is None or self._clock.now - known >= _WINDOW
