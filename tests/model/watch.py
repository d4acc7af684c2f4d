"""What must always hold of the records, whatever happens: looked at with every write."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from services.scheduler.batch import ErrandTurn
from services.scheduler.decision import Dispatched, Due, Expired, LeaderEnded
from services.scheduler.dispatch import downloads, level
from services.scheduler.grants import PATIENCE, tally
from shared.contracts.batch import Batch, Errand
from shared.contracts.commands import DeleteJob, RetryJob
from shared.contracts.facts import FactBase
from shared.contracts.job import Job, Status
from shared.contracts.unit import UnitState
from shared.contracts.work import UNIT_SWEEP_LEFT, SeparateWork, StopOrder, SweepWork, WorkBase
from tests.model.twins import Twins
from tests.support.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.model.world import World


class ViolationError(AssertionError):
    """Something that must always hold does not."""


def must(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as an assertion
    """``ViolationError`` unless it holds."""
    if not holds:
        raise ViolationError(what)


class WatchedStore(MemoryStore):
    """A bucket that shows every write to a watch."""

    def __init__(self) -> None:
        super().__init__()
        self.watch: Watch | None = None

    def _put(self, key: str, record: Job | Batch | None, request: str = "") -> int:
        before = self._records.get(key, (0, None, ""))[1]
        revision = super()._put(key, record, request)
        if self.watch is not None and not isinstance(before or record, Batch):
            assert not isinstance(before, Batch)
            assert not isinstance(record, Batch)
            self.watch.written(before, record)
        return revision


class Watch:
    """Looks at every write."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._twins = Twins(world)
        #: Words of the last write of each job that have not been said.
        self.owed: dict[str, tuple[object, ...]] = {}
        #: The highest attempt ever ordered, by job and unit.
        self._attempts: dict[tuple[str, str], int] = {}
        #: Starts of others while an owner had jobs to start, and chunks of others while a job
        #: had chunks to be ordered.
        self._passed_owners: dict[str, int] = {}
        self._starts: Counter[str] = Counter()
        #: How many more than whoever has had least an owner had had when it last had a turn.
        self._ahead: dict[str, int] = {}
        self._passed_jobs: dict[str, int] = {}

    def begin(self) -> None:
        """There is another owner, who knows nothing of turns that were taken."""
        self._passed_owners.clear()
        self._starts.clear()
        self._ahead.clear()
        self._passed_jobs.clear()

    def written(self, before: Job | None, after: Job | None) -> None:
        """A record has just been replaced."""
        if after is None:
            self._removed(before)
            return
        if before == after:
            return
        self._ends(before, after)
        if before is not None:
            self._goes_on(before, after)
        self._orders(before, after)
        self._owes(after)
        if not self._world.loose:
            wrong = self._twins.written(before, after)
            must(not wrong, "; ".join(wrong))
            self._bounds(before, after)
            self._turns(before, after)

    def said(self, word: object) -> None:
        """A word was said."""
        job_id = getattr(word, "job_id", None)
        if job_id in self.owed:
            self.owed[job_id] = tuple(one for one in self.owed[job_id] if one != word)

    def _removed(self, before: Job | None) -> None:
        must(before is not None and before.status.terminal, "only what has ended is removed")
        must(isinstance(self._world.cause, (DeleteJob, Expired)), "only who is told to removes")
        assert before is not None
        self.owed.pop(before.id, None)

    def _ends(self, before: Job | None, after: Job) -> None:
        if before is None or not before.status.terminal:
            return
        must(after.status is Status.PENDING, f"{before.status} became {after.status}")
        must(self._is_retry(after), f"{before.status} became {after.status} without a retry")

    def _is_retry(self, job: Job) -> bool:
        cause = self._world.cause
        if isinstance(cause, ErrandTurn):
            batch = self._world.store.batch(cause.job_id)
            return batch is not None and batch.errand is Errand.RETRY and job.batch == batch.id
        return isinstance(cause, RetryJob) and cause.job_id == job.id

    def _goes_on(self, before: Job, after: Job) -> None:
        must(after.progress >= before.progress, f"{before.progress} became {after.progress}")
        must(after.attempt_floor >= before.attempt_floor, "attempts begin lower")
        for name, unit in before.units.items():
            later = after.units.get(name)
            known = max(later.attempt if later else 0, after.attempt_floor)
            must(known >= unit.attempt, f"attempt {unit.attempt} of {name} became {known}")
        cause = self._world.cause
        if isinstance(cause, FactBase):
            unit_before = before.units.get(cause.unit)
            must(
                unit_before is not None
                and unit_before.attempt == cause.attempt
                and unit_before.state is not UnitState.DONE,
                f"{cause.unit} attempt {cause.attempt} was not awaited",
            )

    def _orders(self, before: Job | None, after: Job) -> None:
        works = [word for word in after.outbox if isinstance(word, WorkBase)]
        if not after.status.terminal:
            self._sweeps(after, [word for word in works if isinstance(word, SweepWork)])
        if after.status is not Status.PROCESSING:
            must(
                all(isinstance(word, SweepWork) for word in works),
                f"work for a job that is {after.status}",
            )
            return
        for work in works:
            unit = after.units.get(work.unit)
            must(
                unit is not None
                and (unit.state, unit.attempt) == (UnitState.ORDERED, work.attempt),
                f"{work.unit} is ordered and not noted",
            )
            known = before.units.get(work.unit) if before else None
            if known is not None and (known.state, known.attempt) == (
                UnitState.ORDERED,
                work.attempt,
            ):
                continue  # kept in the outbox, to be said again
            highest = self._attempts.get((after.id, work.unit), 0)
            must(work.attempt > highest, f"attempt {work.attempt} of {work.unit} comes twice")
            self._attempts[after.id, work.unit] = work.attempt

    def _sweeps(self, after: Job, sweeps: list[SweepWork]) -> None:
        """Who goes on sweeps nothing that it needs, or that it could store under the same key."""
        for one in sweeps:
            if (one.run or one.job_id) != after.run_id:
                continue
            must(one.attempt <= after.attempt_floor, "attempts begin below what is swept")
            needed = [
                name
                for name, unit in after.units.items()
                if name.isdigit() and unit.attempt <= one.attempt
            ]
            must(not needed, f"sweeps what it needs: {needed}")

    def _owes(self, after: Job) -> None:
        # What time brings about is not told again, so its stop may get lost: whoever works on
        # such a job asks its record.  So may the sweep of what a follower was left and does not
        # take over: it goes by its age.
        told_once = isinstance(self._world.cause, Due | LeaderEnded) and after.status.terminal
        self.owed[after.id] = tuple(
            word
            for word in after.outbox
            if not (told_once and (isinstance(word, StopOrder) or word.unit == UNIT_SWEEP_LEFT))
        )

    def _bounds(self, before: Job | None, after: Job) -> None:
        processing = self._processing()
        if after.status is Status.PROCESSING and (
            before is None or before.status is not Status.PROCESSING
        ):
            most = self._world.max_processing
            must(len(processing) <= most, f"{len(processing)} are processing, {most} may")
        fresh = [
            word
            for word in after.outbox
            if isinstance(word, SeparateWork) and not after.units[word.unit].failures
        ]
        if fresh:
            out = sum(tally(job).out + tally(job).other for job in processing)
            most = max(1, self._world.separators)
            must(out <= most, f"{out} chunks are out, {most} may")

    def _turns(self, before: Job | None, after: Job) -> None:
        # A turn is taken, too, by one that finds what it wants there, or somebody at work on it.
        turn = isinstance(self._world.cause, Dispatched)
        if turn and before is not None and before.status is Status.PENDING:
            self._started(before)
        granted = sum(isinstance(word, SeparateWork) for word in after.outbox)
        if granted:
            self._granted(after, granted)

    def _started(self, job: Job) -> None:
        """Whoever else could have been started instead has been passed over."""
        now = self._world.clock.now
        reached = level(job, now, self._world.ageing)
        rivals = {
            other.terms.owner
            for other in self._world.store.jobs()
            if other.status is Status.PENDING
            and other.held_at is None
            and other.follows is None
            and other.id != job.id
            and downloads(other)
            and level(other, now, self._world.ageing) <= reached
        } - {job.terms.owner}
        owners = self._world.owners
        self._starts[job.terms.owner] += 1
        least = min(self._starts[owner] for owner in owners)
        self._ahead[job.terms.owner] = self._starts[job.terms.owner] - least
        if job.front_at is not None or not downloads(job) or self._world.sites_paused():
            return
        self._passed_owners = {
            owner: self._passed_owners.get(owner, 0) + 1 for owner in sorted(rivals)
        }
        # Who has had more than others, of a higher priority, waits until each has had as much.
        for owner, count in self._passed_owners.items():
            most = 3 * len(owners) + (len(owners) - 1) * self._ahead.get(owner, 0)
            must(count <= most, f"passed over: {owner}, {count} times")

    def _granted(self, job: Job, granted: int) -> None:
        wanting = [one.id for one in self._processing() if one.id != job.id and tally(one).idle > 0]
        self._passed_jobs = {one: self._passed_jobs.get(one, 0) + granted for one in wanting}
        most = (PATIENCE + 1) * self._world.max_processing + self._world.separators
        must(
            all(count <= most for count in self._passed_jobs.values()),
            f"waits for a chunk: {self._passed_jobs}",
        )

    def _processing(self) -> list[Job]:
        return [job for job in self._world.store.jobs() if job.status is Status.PROCESSING]


def unsaid(owed: Iterable[tuple[str, tuple[object, ...]]]) -> list[object]:
    """Words that nobody has said."""
    return [word for _, words in owed for word in words]
