"""What must hold of jobs that ask for the same: looked at with every write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scheduler.rules.record import LOST
from services.scheduler.wishes import aim_of, result_of, same_stems, wish_of
from shared.contracts.job import Job, Status
from shared.contracts.unit import UnitState
from shared.contracts.work import SeparateWork, SweepWork

if TYPE_CHECKING:
    from tests.model.world import World


class Twins:
    """Remembers which chunks are finished, and who computes what."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: Finished chunks that nobody has given up: whose run, which one.
        self._finished: set[tuple[str, int]] = set()
        #: The highest attempt of each chunk of a run, whoever ordered it.
        self._attempts: dict[tuple[str, int], int] = {}

    def written(self, before: Job | None, after: Job) -> list[str]:
        """What does not hold of a record that has just been replaced."""
        self._given_up(before, after)
        orders = [word for word in _orders(after) if before is None or word not in before.outbox]
        wrong = [
            *self._computed_again(after),
            *self._beside_one_another(after),
            *self._same_place(orders),
            *self._heirs_first(before, after),
            *self._same_song(before, after),
        ]
        self._finished |= {(after.run_id, chunk) for chunk in _done(after)}
        if after.status is Status.COMPLETED and after.result is not None:
            if after.result.id not in self._world.files.results:
                wrong.append("a result is not there")
            if after.result.id != result_of(after):
                wrong.append(f"{after.id} is given another song's result")
        return wrong

    def _given_up(self, before: Job | None, after: Job) -> None:
        """What a job drops of its own, or sweeps away, it may compute again."""
        for run in {word.run or after.id for word in after.outbox if isinstance(word, SweepWork)}:
            self._forget(run)
        if before is None:
            return
        if after.status is Status.FAILED and after.error and after.error.code in LOST:
            self._forget(after.legacy.run if after.legacy else after.run_id)
        runs = {before.run_id} if before.run_id == after.run_id else set()
        if before.legacy is not None and before.status.terminal and not after.status.terminal:
            runs.add(before.legacy.run)  # it is retried before the heir has come
        for run in runs:
            self._finished -= {(run, chunk) for chunk in _done(before) - _done(after)}

    def _forget(self, run: str) -> None:
        self._finished = {one for one in self._finished if one[0] != run}

    def _computed_again(self, after: Job) -> list[str]:
        again = [one.chunk for one in _orders(after) if (one.run, one.chunk) in self._finished]
        return [f"{after.id} computes finished chunks again: {again}"] if again else []

    def _beside_one_another(self, after: Job) -> list[str]:
        """Two that both take what there is never compute the same at the same time."""
        if not _orders(after):
            return []
        both = [
            job.id
            for job in self._world.store.jobs()
            if job.status is Status.PROCESSING
            and job.options.reuse
            and after.options.reuse
            and job.id != after.id
            and same_stems(aim_of(job), aim_of(after))
        ]
        return [f"{after.id} and {both} compute the same"] if both else []

    def _heirs_first(self, before: Job | None, after: Job) -> list[str]:
        """Nobody begins with what another is about to go on with."""
        waited = before is not None and before.status is Status.PENDING
        if not waited or after.status is not Status.PROCESSING or _in_front(before):
            return []
        heirs = [
            job.id
            for job in self._world.store.jobs()
            if job.status is Status.PENDING
            and job.held_at is None
            and job.follows is None
            and job.chunks_done
            and _in_front(job)
            and wish_of(job) == wish_of(after)
        ]
        return [f"{after.id} begins before {heirs} go on"] if heirs and after.options.reuse else []

    def _same_song(self, before: Job | None, after: Job) -> list[str]:
        """Whoever follows for a song's sake, and not for its address, gets that one."""
        if before is None or before.follows is None or before.track is None or after.track is None:
            return []
        leader = self._world.store.job(before.follows)
        if after.track.id == before.track.id or (leader and wish_of(leader) == wish_of(after)):
            return []
        return [f"{after.id} is given another song: {after.track.id} for {before.track.id}"]

    def _same_place(self, orders: list[SeparateWork]) -> list[str]:
        """Two jobs never store under the same key."""
        wrong = []
        for one in orders:
            place = (one.run, one.chunk)
            if one.attempt <= self._attempts.get(place, 0):
                wrong.append(f"attempt {one.attempt} of {place} comes twice")
            self._attempts[place] = one.attempt
        return wrong


def _in_front(job: Job | None) -> bool:
    return job is not None and job.front_at is not None


def _orders(job: Job) -> list[SeparateWork]:
    return [word for word in job.outbox if isinstance(word, SeparateWork)]


def _done(job: Job) -> set[int]:
    return {
        int(name)
        for name, unit in job.units.items()
        if name.isdigit() and unit.state is UnitState.DONE
    }
