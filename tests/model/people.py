"""Clients and workers of the model: what they ask for, and what comes of what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from shared.contracts.commands import (
    CancelBatch,
    CancelJob,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    Refused,
    ReleaseJob,
    RetryBatch,
    RetryJob,
    SubmitBatch,
    SubmitJob,
)
from shared.contracts.facts import Failed
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority
from shared.contracts.work import (
    STAGE_OF,
    UNASKED,
    DownloadWork,
    ExpandWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.model.files import track_of
from tests.model.watch import must
from tests.support.batches import expanded, submit_batch, submit_playlist
from tests.support.jobs import downloaded, fact_of, finalized, submit

if TYPE_CHECKING:
    from shared.contracts.commands import Command
    from shared.contracts.facts import Fact
    from shared.contracts.work import Work
    from tests.model.bus import Bus
    from tests.model.world import World

#: What can come of a piece of work; of a download alone the last.
OUTCOMES: Final = {
    "retryable": Problem.of(RetryableError(Code.WORKER_CRASHED, "it died")),
    "terminal": Problem.of(TerminalError(Code.SOURCE_NOT_FOUND, "it is not there")),
    "lost": Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone")),
    "full": Problem.of(RetryableError(Code.STORAGE_FULL)),
    "slow down": Problem.of(RetryableError(Code.SOURCE_RATE_LIMITED, retry_after=5.0)),
}
_BATCHES: Final = 2


class Clients:
    """They ask, and ask again, and remember what for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bus = world.bus
        self.jobs: list[str] = []
        self.batches: list[str] = []
        self.asked: list[Command] = []
        self._replies = 0

    def submit(self, choice: int) -> None:
        """A song."""
        world = self._world
        if len(self.jobs) == world.songs:
            self.submit_again(choice)
            return
        job_id = f"j{len(self.jobs)}"
        self.jobs.append(job_id)
        # Often the song that others have asked for, seldom with other options.
        song = "song" if world.twins else job_id
        self._ask(
            submit(
                job_id,
                url=f"https://host{choice % world.hosts}.example/{song}",
                options=Options(
                    model="htdemucs" if choice // 3 % 5 == 0 else "auto",
                    reuse=choice // 5 % 7 > 0,
                ),
                owner=world.owners[choice % len(world.owners)],
                priority=tuple(Priority)[choice // 8 % 3] if choice % 4 == 0 else Priority.NORMAL,
            )
        )

    def submit_batch(self, choice: int) -> None:
        """Some songs at once, or a playlist."""
        if len(self.batches) == _BATCHES:
            self.submit_again(choice)
            return
        batch_id = f"b{len(self.batches)}"
        self.batches.append(batch_id)
        owner = self._world.owners[choice % len(self._world.owners)]
        command = (
            submit_playlist(batch_id=batch_id)
            if choice % 3 == 0
            else submit_batch(1 + choice % 13, batch_id=batch_id)
        )
        self._ask(replace(command, terms=replace(command.terms, owner=owner)))

    def ask(self, verb: str, choice: int) -> None:
        """Something of a job that there is, or was."""
        known = self.jobs + [job.id for job in self._world.store.jobs() if job.batch]
        if not known:
            return
        job_id = known[choice % len(known)]
        if verb == "prioritize":
            self._ask(PrioritizeJob(job_id=job_id, priority=tuple(Priority)[choice // 7 % 3]))
            return
        kinds: dict[str, type[CancelJob | RetryJob | HoldJob | ReleaseJob | FrontJob | DeleteJob]]
        kinds = {
            "cancel": CancelJob,
            "retry": RetryJob,
            "hold": HoldJob,
            "release": ReleaseJob,
            "front": FrontJob,
            "delete": DeleteJob,
        }
        self._ask(kinds[verb](job_id=job_id))

    def ask_batch(self, verb: str, choice: int) -> None:
        """Something of a batch."""
        if self.batches:
            kind = CancelBatch if verb == "cancel" else RetryBatch
            self._ask(kind(job_id=self.batches[choice % len(self.batches)]))

    def again(self, choice: int) -> None:
        """The broker, or a client, says the same again, however late."""
        if self.asked:
            command = self.asked[choice % len(self.asked)]
            if not isinstance(command, DeleteJob):  # what is told no twice is told no
                self._bus.send(command, again=True)

    def submit_again(self, choice: int) -> None:
        """A client has got no answer, and asks anew."""
        submissions = [one for one in self.asked if isinstance(one, (SubmitJob, SubmitBatch))]
        if submissions:
            self._ask(submissions[choice % len(submissions)])

    def refused(self) -> set[str]:
        """Jobs whose submission was refused."""
        return {
            command.job_id
            for command in self.asked
            if any(isinstance(one, Refused) for one in self._bus.answers.get(command.reply_to, ()))
        }

    def _ask(self, command: Command) -> None:
        self._replies += 1
        command = replace(command, reply_to=f"r{self._replies}")
        self.asked.append(command)
        self._bus.send(command)


class Running(NamedTuple):
    """A worker with an order."""

    number: int
    work: Work


class Workers:
    """They take orders, and do them, or fail, or die, or do them twice."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bus: Bus = world.bus
        self.running: list[Running] = []
        self._taken: set[int] = set()

    def take(self, choice: int) -> bool:
        """One takes an order, if it is still wanted; whether there was one."""
        waiting = [one for one in self._bus.work.values() if one.number not in self._taken]
        if not waiting:
            return False
        order = waiting[choice % len(waiting)]
        record = None
        if not isinstance(order.work, UNASKED):
            record = (
                self._world.store.batch(order.work.job_id)
                if isinstance(order.work, ExpandWork)
                else self._world.store.job(order.work.job_id)
            )
        if isinstance(order.work, UNASKED):
            self._world.files.tidy(order.work)
        if record is None or not record.awaits(order.work.unit, order.work.attempt):
            self._bus.ack(order.number)
            return True
        self._taken.add(order.number)
        self.running.append(Running(order.number, order.work))
        return True

    def finish(self, choice: int, outcome: str = "done", *, twice: bool = False) -> bool:
        """One tells what came of its work; ``twice``: somebody else has it by now, too."""
        if not self.running:
            return False
        one = self.running[choice % len(self.running)]
        self._tell(one.work, outcome)
        if twice:
            self._taken.discard(one.number)
            return True
        self.running.remove(one)
        self._bus.ack(one.number)
        return True

    def die(self, choice: int) -> None:
        """One vanishes: its order is handed out again."""
        if self.running:
            one = self.running.pop(choice % len(self.running))
            self._taken.discard(one.number)

    def late(self, choice: int, outcome: str = "done") -> None:
        """One that everybody had forgotten about says how it went."""
        old = [one for one in self._bus.ordered if not isinstance(one, UNASKED)]
        if old:
            self._tell(old[choice % len(old)], outcome, again=True)

    def _tell(self, work: Work, outcome: str, *, again: bool = False) -> None:
        if isinstance(work, UNASKED):
            return
        if missing := self._world.files.missing(work):
            record = self._world.store.job(work.job_id)
            awaited = record is not None and record.awaits(work.unit, work.attempt)
            # Where two addresses lead to one song, whoever removes it may not know yet that another
            # has just fetched it, too: that one fetches it again.
            excused = self._world.loose or (self._world.mirrors and missing == [track_of(work)])
            must(not awaited or excused, f"swept, and still needed: {missing}")
            outcome = "lost"
        if outcome == "lost":
            self._world.files.losses += 1
        if outcome == "slow down" and not work.unit.startswith("source"):
            outcome = "retryable"
        self._bus.send(self._fact(work, outcome), again=again)

    def _fact(self, work: Work, outcome: str) -> Fact:
        if outcome != "done":
            return Failed(
                job_id=work.job_id,
                stage=STAGE_OF[type(work)],
                unit=work.unit,
                attempt=work.attempt,
                problem=OUTCOMES[outcome],
                # A finalization knows which chunks are gone, or only that some are.
                lost=(0,) if isinstance(work, FinalizeWork) and work.attempt % 2 else (),
                track_lost=isinstance(work, FinalizeWork) and not work.attempt % 4,
            )
        if isinstance(work, ExpandWork):
            return expanded(3, work.attempt, batch_id=work.job_id)
        return self._done(work)

    def _done(self, work: Work) -> Fact:
        files = self._world.files
        match work:
            case DownloadWork():
                return replace(
                    downloaded(work.attempt, job_id=work.job_id), track=files.fetch(work.source)
                )
            case PrepareWork():
                return fact_of(work, files.cut(work.track.id))
            case SeparateWork():
                files.separate(work)
                return fact_of(work)
            case FinalizeWork():
                others = files.mixed(work)
                must(not others, f"{work.job_id} is put together of {others}, too")
                made = files.finalize(work)
                return replace(finalized(work.attempt, job_id=work.job_id), result=made)
            case _:
                return fact_of(work)
