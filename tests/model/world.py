"""A whole Stembus but for audio and sockets: clients, workers, schedulers, and what befalls them.

The scheduler is the real one; the bus, the bucket and the clock are in memory, so nothing waits
and everything can be cut off anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.scheduler.breaker import BreakerLimits
from services.scheduler.deciding import LeaseLostError, LifeLimits
from services.scheduler.decision import TimeLimits
from services.scheduler.dispatcher import QueueLimits
from services.scheduler.retention import RetentionLimits
from shared.contracts.job import Job, Phase, Status
from shared.contracts.work import Stage
from tests.model.bus import Bus
from tests.model.files import Files
from tests.model.watch import Watch, WatchedStore, must
from tests.support.realm import Clock, Realm

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    from services.scheduler.actor import Message
    from shared.contracts.commands import Reply
    from shared.contracts.work import Word

    T = TypeVar("T")

#: So long that only a guard against eternity would notice.
_AGES: Final = 1e9
_TIMES: Final = TimeLimits(phases=dict.fromkeys(Phase, _AGES), job=_AGES)
#: Turns of a scheduler without anything from outside: more would be going round in circles.
_TURNS: Final = 200


class CrashError(Exception):
    """The process dies here."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # a coroutine's result
    message = "nothing here has to be waited for"
    raise AssertionError(message)


class Seat:
    """A scheduler's process: it dies and is started again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.realm = world.new_realm()
        self.reigning = False

    def restart(self) -> None:
        """Nothing of what it knew is left."""
        self.realm.close()
        self.realm = self._world.new_realm()
        self.reigning = False


class World:
    """What there is, and what can happen to it."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        *,
        double: bool = False,
        separators: int = 2,
        downloads: int = 2,
        chunks: tuple[int, ...] = (1, 2, 3, 5, 40),
        songs: int = 5,
        twins: bool = True,
        hosts: int = 3,
        mirrors: bool = False,
        changing: bool = False,
    ) -> None:
        #: Whether two schedulers may take themselves for the owner at once.
        self.double = double
        #: Whether there were two at some time: each has kept to its bounds, both together not.
        self.loose = double
        self.separators = separators
        self.downloads = downloads
        #: Songs that clients have beside those of batches: few, and more happens to each.
        self.songs = songs
        #: Whether jobs want one song of each host, and how many of those there are.
        self.twins = twins
        self.hosts = hosts
        #: Whether all hosts have the same songs.
        self.mirrors = mirrors
        self.max_processing = 4
        self.ageing = 600.0
        self.owners = ("a", "b", "c")
        self.clock = Clock()
        self.bus = Bus(self.clock)
        self.files = Files(self.clock, chunks, mirrors=mirrors, changing=changing)
        self.store = WatchedStore()
        self.store.before_write = self.store.after_write = self.checkpoint
        #: What is being decided on.
        self.cause: Message | None = None
        #: Steps until the process dies that is at work; None: it does not.
        self._fuse: int | None = None
        self.seats = [Seat(self), Seat(self)]
        self.watch = self.store.watch = Watch(self)

    def new_realm(self) -> Realm:
        """A scheduler that has just been started."""
        return Realm(
            store=self.store,
            clock=self.clock,
            slots={
                Stage.DOWNLOAD: self.downloads,
                Stage.SEPARATE: self.separators,
                Stage.FINALIZE: 1,
            },
            queue=QueueLimits(max_processing=self.max_processing, ageing=self.ageing),
            life=LifeLimits(times=_TIMES),
            breakers=BreakerLimits(),
            retention=RetentionLimits(seconds=0),
        )

    def close(self) -> None:
        """Let go of everything."""
        for seat in self.seats:
            seat.realm.close()

    def checkpoint(self) -> None:
        """Between any two steps a process may die."""
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise CrashError

    def forward(self, seconds: float) -> None:
        """Time passes; workers live on."""
        self.clock.forward(seconds)
        for seat in self.seats:
            seat.realm.beat()

    def sites_paused(self) -> bool:
        """Whether any site is being left alone or tried."""
        return any(
            breaker.half_open
            for seat in self.seats
            for breaker in seat.realm.dispatcher.sites._breakers.values()
        )

    def owner(self) -> Seat:
        """A scheduler that reigns; somebody takes over if none does."""
        reigning = [seat for seat in self.seats if seat.reigning]
        if not reigning:
            self.take_over(self.seats[0])
            return self.seats[0]
        return reigning[0]

    def take_over(self, seat: Seat, fuse: int | None = None) -> None:
        """It becomes the owner; the other one does not any more, unless there may be two."""
        if not self.double:
            self.depose(but=seat)
        seat.reigning = True
        self.watch.begin()
        self._run(seat, seat.realm.scheduler.take_over(), fuse)

    def depose(self, but: Seat) -> None:
        """All others learn that they have lost the lease."""
        for seat in self.seats:
            if seat is not but and seat.reigning:
                seat.realm.scheduler.step_down()
                seat.reigning = False

    def follow(self, seat: Seat) -> None:
        """A standby reads what was written."""
        if not seat.reigning:
            drive(seat.realm.scheduler.catch_up())

    def receive(self, seat: Seat, number: int, fuse: int | None = None) -> None:
        """A scheduler handles a letter; it is gone only when all is done."""
        letter = self.bus.inbox[number]
        if self.tell(seat, letter.message, fuse):
            self.bus.ack(number)

    def think(self, seat: Seat, fuse: int | None = None) -> bool:
        """A scheduler tells itself what there is to be told; whether there was anything."""
        self._fuse = fuse
        decisions = seat.realm.scheduler.decisions()
        for decision in decisions:
            if not seat.reigning or not self.tell(seat, decision, self._fuse):
                break
        self._fuse = None
        return bool(decisions)

    def tell(self, seat: Seat, message: Message, fuse: int | None = None) -> bool:
        """Whether the scheduler came to the end of it, words included."""
        outer, self.cause = self.cause, message
        try:
            return self._run(seat, seat.realm.scheduler.receive(message), fuse)
        finally:
            self.cause = outer

    def _run(self, seat: Seat, work: Coroutine[Any, Any, Any], fuse: int | None) -> bool:
        self._fuse = fuse
        try:
            words: list[Word | Reply] = drive(work)
            for word in words:
                self.checkpoint()
                self.bus.say(word)
                self.watch.said(word)
            self.checkpoint()
        except CrashError:
            self._fuse = None
            seat.restart()
            return False
        except LeaseLostError:
            seat.realm.scheduler.step_down()
            seat.reigning = False
            return False
        return True

    def settle(self) -> None:
        """Everything that was sent is handled, and nothing is left to be decided."""
        self._fuse = None
        owner = self.owner()
        if self.double:
            # Neither knows what the other one wrote: one loses the lease, and takes over again.
            self.double = False
            owner.realm.scheduler.step_down()
            self.take_over(owner)
        for _ in range(_TURNS):
            for number in tuple(self.bus.inbox):
                self.receive(owner, number)
            if not self.think(owner) and not self.bus.inbox:
                return
        must(holds=False, what="the scheduler never comes to rest")

    def unfinished(self) -> list[Job]:
        """Jobs that have not ended."""
        return [job for job in self.store.jobs() if not job.status.terminal]

    def described(self) -> dict[str, tuple[Status, object]]:
        """For people: where each job stands."""
        return {job.id: (job.status, job.units) for job in self.store.jobs()}


def two() -> World:
    """Two may take themselves for the owner."""
    return World(double=True)


def one_download() -> World:
    """Turns are few, and many want one."""
    return World(downloads=1, songs=40, twins=False)


def one_separator() -> World:
    """Slots are few, and songs are very short or very long."""
    return World(separators=1, chunks=(3, 40), songs=40, twins=False)


def one_song() -> World:
    """Everybody wants the same."""
    return World(chunks=(12,), songs=14, hosts=1)


def mirrors() -> World:
    """Everybody wants the same, by the addresses of three hosts that all have it."""
    return World(chunks=(12,), songs=14, mirrors=True)


def changing() -> World:
    """The same, and by the time that something was lost they may have another song."""
    return World(chunks=(5,), songs=14, hosts=2, mirrors=True, changing=True)


def two_of_one_song() -> World:
    """Both have to do with the same job all the time."""
    return World(double=True, separators=4, chunks=(40,), songs=1)
