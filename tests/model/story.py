"""A story: a list of things that happen, and then an end at which everything goes well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.contracts.batch import BatchStatus, entry_id
from shared.contracts.commands import DeleteJob, ReleaseJob, RetryJob
from tests.model.people import OUTCOMES, Clients, Workers
from tests.model.watch import must, unsaid
from tests.model.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.world import Seat

_CLIENTS: Final = (
    *("submit", "submit again", "submit batch", "cancel batch", "retry batch", "again"),
    *("cancel", "retry", "hold", "release", "front", "prioritize", "delete"),
)
_WORKERS: Final = ("take", "done", "twice", "worker dies", "late", "late failure")
#: What happens, and how often compared with the rest.
ACTIONS: Final = (
    *_CLIENTS,
    *_WORKERS,
    *OUTCOMES,
    *("submit",) * 3,
    *("deliver",) * 12,
    *("think",) * 8,
    *("take",) * 7,
    *("done",) * 11,
    *("time",) * 3,
    *("take over", "follow", "crash in a message", "crash in thought", "crash in taking over"),
    *("deliver any", "all goes well", "all goes well"),
)
#: One action: what, and two choices.
Step = tuple[str, int, int]
#: Steps between which a process can die in handling one message; more and it does not.
_FUSE: Final = 8
#: Seconds from one thing to the next: what is stored later is younger.
_MOMENT: Final = 0.001
#: Longer than any pause between two attempts, or than any site is left alone.
_MINUTES: Final = 60


class Story:
    """Tells one."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.clients = Clients(self.world)
        self.workers = Workers(self.world)

    def tell(self, steps: Sequence[Step]) -> None:
        """All of it; ``ViolationError`` if something does not hold that must."""
        try:
            for step in steps:
                self.act(*step)
            self.end()
        finally:
            self.world.close()

    def act(self, action: str, choice: int, other: int) -> None:
        """One thing happens."""
        self.world.clock.forward(_MOMENT)
        if action in _CLIENTS:
            self._client(action, choice)
        elif action in _WORKERS or action in OUTCOMES:
            self._worker(action, choice)
        elif action == "all goes well":
            for _ in range(choice % 5 + 1):
                self._round(other)
        elif action == "time":
            self.world.forward((1.0, 10.0, 60.0, 600.0)[choice % 4])
        else:
            self._scheduler(action, choice, other)

    def _client(self, action: str, choice: int) -> None:
        match action:
            case "submit":
                self.clients.submit(choice)
            case "submit again":
                self.clients.submit_again(choice)
            case "submit batch":
                self.clients.submit_batch(choice)
            case "cancel batch" | "retry batch":
                self.clients.ask_batch(action.split(maxsplit=1)[0], choice)
            case "again":
                self.clients.again(choice)
            case _:
                self.clients.ask(action, choice)

    def _worker(self, action: str, choice: int) -> None:
        match action:
            case "take":
                self.workers.take(choice)
            case "done" | "twice":
                self.workers.finish(choice, twice=action == "twice")
            case "worker dies":
                self.workers.die(choice)
            case "late" | "late failure":
                self.workers.late(choice, "done" if action == "late" else "retryable")
            case _:
                self.workers.finish(choice, action)

    def _scheduler(self, action: str, choice: int, other: int) -> None:
        world, fuse = self.world, other % _FUSE
        seat = world.seats[other % len(world.seats)]
        match action:
            case "take over":
                world.take_over(seat)
            case "crash in taking over":
                world.take_over(seat, fuse)
            case "follow":
                world.follow(seat)
            case "deliver":
                self._deliver(0, other)
            case "deliver any":
                self._deliver(choice, other)
            case "crash in a message":
                self._deliver(0, other, fuse)
            case "think":
                world.think(self._one_of_those_who_reign(other))
            case "crash in thought":
                world.think(self._one_of_those_who_reign(other), fuse)

    def _round(self, other: int) -> None:
        """Whatever can be done is done once."""
        for _ in tuple(self.world.bus.inbox):
            self._deliver(0, other)
        self.world.think(self._one_of_those_who_reign(other))
        while self.workers.take(0):
            pass
        for _ in tuple(self.workers.running):
            self.workers.finish(0)

    def _deliver(self, choice: int, other: int, fuse: int | None = None) -> None:
        numbers = tuple(self.world.bus.inbox)
        if numbers:
            seat = self._one_of_those_who_reign(other)
            self.world.receive(seat, numbers[choice % len(numbers)], fuse)

    def _one_of_those_who_reign(self, choice: int) -> Seat:
        reigning = [seat for seat in self.world.seats if seat.reigning]
        return reigning[choice % len(reigning)] if reigning else self.world.owner()

    def end(self) -> None:
        """From here on nothing goes wrong: everything that was accepted comes to an end."""
        world, store = self.world, self.world.store
        two = world.double
        world.settle()
        if not two:
            self._batches_are_as_asked()
        for job in world.unfinished():
            if job.held_at is not None:
                world.tell(world.owner(), ReleaseJob(job_id=job.id))
        self._work_until_all_is_done()
        must(not world.unfinished(), f"stuck: {world.described()}")
        must(not world.bus.work, f"work is left: {list(world.bus.work)}")
        if not two:
            gone = [
                job.id
                for job in store.jobs()
                if job.result and job.result.id not in world.files.results
            ]
            must(not gone, f"results are gone: {gone}")
        left = unsaid(world.watch.owed.items())
        must(not left, f"never said: {left}")
        deleted = {one.job_id for one in self.clients.asked if isinstance(one, DeleteJob)}
        known = {job.id for job in store.jobs()} | deleted | self.clients.refused()
        lost = set(self.clients.jobs) - known
        must(not lost, f"lost: {lost}")

    def _work_until_all_is_done(self) -> None:
        world, minutes = self.world, 0
        while world.unfinished() or world.bus.work:
            worked = False
            while self.workers.take(0) or self.workers.finish(0):
                worked = True
            world.settle()
            if not worked:
                world.forward(60.0)
                minutes += 1
                if minutes > _MINUTES:
                    return

    def _batches_are_as_asked(self) -> None:
        """A batch's jobs were all made; of one that was called off none goes on."""
        world = self.world
        asked = {one.job_id for one in self.clients.asked if isinstance(one, (RetryJob, DeleteJob))}
        for batch_id in self.clients.batches:
            batch = world.store.batch(batch_id)
            if batch is None:  # refused, or nothing was left of it
                left = [job.id for job in world.store.jobs() if job.batch == batch_id]
                must(not left, f"{batch_id} is gone, not so {left}")
                continue
            must(batch.errand is None, f"an errand is stuck: {batch}")
            for number in range(len(batch.entries)):
                job = world.store.job(entry_id(batch_id, number))
                if entry_id(batch_id, number) in asked:
                    continue
                if batch.status is BatchStatus.EXPANDED:
                    must(job is not None, f"{batch_id} has no job {number}")
                if batch.status is BatchStatus.CANCELLED and job is not None:
                    must(job.status.terminal, f"{job.id} goes on: {job.status}")
