"""What is done to whom, and when: a pure function of a seed."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Fault(StrEnum):
    """A way to hurt a process."""

    #: SIGKILL: no goodbye.
    KILL = "kill"
    #: SIGTERM: it leaves in order, and is started again.
    RESTART = "restart"
    #: SIGSTOP, and some seconds later SIGCONT.
    FREEZE = "freeze"


#: The processes that ``stembus up --schedulers 2`` keeps running.
MEMBERS: Final = (
    "gateway-1", "scheduler-1", "scheduler-2", "downloader-1", "separator-1", "broker",
)  # fmt: skip
#: Services with child processes of their own, which are hurt as well.
PARENTS: Final = ("downloader-1", "separator-1")
#: Seconds of the shortest freeze.
SHORTEST_FREEZE: Final = 0.5


class Target(Struct, frozen=True):
    """A member, or one of a member's children."""

    member: str
    child: bool = False

    def __str__(self) -> str:
        return f"{self.member}'s child" if self.child else self.member


class Strike(Struct, frozen=True):
    """One fault."""

    #: Seconds after the beginning.
    at: float
    target: Target
    fault: Fault
    #: Seconds until a frozen process goes on; 0 for other faults.
    seconds: float
    #: 0 to 1: which of several children is meant.
    chance: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.fault} {self.target}{lasting}"


#: Everything that can be done.  A child is not asked to leave: its service does that.
CARDS: Final = (
    *((Target(member), fault) for member in MEMBERS for fault in Fault),
    *((Target(member, child=True), fault) for member in PARENTS
      for fault in (Fault.KILL, Fault.FREEZE)),
)  # fmt: skip


def plan(seed: int, *, seconds: float, pause: float, longest_freeze: float) -> tuple[Strike, ...]:
    """Faults for ``seconds``, ``pause`` apart on the average, in the order of time.

    They are dealt from shuffled decks of all ``CARDS``: none comes twice before all came once.
    """
    chance = random.Random(f"plan {seed}")  # noqa: S311 - to be replayed, not to be secret
    deck = _decks(chance)
    strikes: list[Strike] = []
    at = 0.0
    while (at := at + chance.uniform(0.0, 2 * pause)) < seconds:
        target, fault = next(deck)
        # Many short ones and some long: evenly spread over the logarithm.
        lasting = SHORTEST_FREEZE * (longest_freeze / SHORTEST_FREEZE) ** chance.random()
        frozen = round(lasting, 2) if fault is Fault.FREEZE else 0.0
        strikes.append(Strike(round(at, 2), target, fault, frozen, round(chance.random(), 3)))
    return tuple(strikes)


def _decks(chance: random.Random) -> Iterator[tuple[Target, Fault]]:
    while True:
        yield from chance.sample(CARDS, len(CARDS))


def described(strikes: Iterable[Strike]) -> str:
    """The plan for people, a line for each fault."""
    return "\n".join(map(str, strikes))
