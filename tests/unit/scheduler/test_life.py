"""Whole lives under everything that may happen: messages twice, late, out of order or lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.core import advance
from services.scheduler.decision import Changed, Dispatched, Due, Outcome, Repeated, Stimulus
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.facts import FactBase, Separated
from shared.contracts.job import TIMELINE_LIMIT, Job, Status
from shared.contracts.problem import Problem
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import FinalizeWork, SweepWork, WorkBase
from shared.errors import Code, TerminalError
from tests.support.jobs import JOB, NOW, TERMINAL, at, fact_of, failed, ordered, stage_of, submit

#: Blobs are gone: a retry has to begin from the start.
LOST: Final = Problem.of(TerminalError(Code.BLOB_MISSING, "work/j1/1/chunk-0"))
#: Longer than any retry waits.
LONG: Final = timedelta(hours=1)

ACTIONS: Final = (
    # Work gets done more often than it fails, and failures more often than people meddle.
    *("done",) * 8,
    *("again",) * 3,
    *("failed",) * 3,
    *("due",) * 3,
    *("dispatched",) * 2,
    "broken",
    "lost",
    "cancel",
    "retry",
    "command again",
    "submit",
)


class World:
    """One job, every order and fact there ever was, and what must hold of them."""

    def __init__(self, chunks: int, window: int) -> None:
        self.chunks = chunks
        self.window = window
        self.now = NOW
        self.job: Job | None = None
        self.orders: list[WorkBase] = []
        self.facts: list[Stimulus] = []
        #: Those that took effect.
        self.commands: list[CancelJob | RetryJob] = []
        self.accepted: dict[str, int] = {}
        self.swept = 0
        self.ends = 0
        self.tell(submit())
        self.tell(Dispatched(JOB))

    def tell(self, stimulus: Stimulus) -> Outcome:
        """Let the scheduler decide on it, and look at what it has decided."""
        before = self.job
        outcome = advance(before, stimulus, at(self.now, window=self.window))
        if isinstance(outcome, Repeated):
            assert before == outcome.job
        if isinstance(outcome, Changed):
            self.job = outcome.job
            self._look(before, outcome.job, stimulus)
        return outcome

    def _look(self, before: Job | None, after: Job, stimulus: Stimulus) -> None:
        if before is not None:
            assert after.progress >= before.progress
            if before.status.terminal:
                assert isinstance(stimulus, RetryJob)
        assert 0 <= after.progress <= 100
        assert after.status is Status.COMPLETED or after.progress < 100
        # What comes again after a failure does not ask for room.
        assert sum(unit == ordered(unit.attempt) for unit in _chunks(after)) <= self.window
        assert len(after.timeline) <= TIMELINE_LIMIT
        if before is not None and isinstance(stimulus, FactBase):
            # Only the attempt that is awaited counts; it may succeed after it has failed, where
            # two workers had it.
            unit = before.units[stimulus.unit]
            assert (unit.attempt, unit.state is UnitState.DONE) == (stimulus.attempt, False)
        if isinstance(stimulus, Separated):
            self.accepted[stimulus.unit] = stimulus.attempt
        for word in after.outbox:
            if isinstance(word, SweepWork):
                self.swept = word.attempt
                assert word.attempt >= max(self.accepted.values(), default=0)
                self.accepted.clear()
            elif isinstance(word, WorkBase):
                self._look_at_order(word, before)
        if after.status is Status.COMPLETED:
            assert all(
                after.units[str(chunk)].state is UnitState.DONE for chunk in range(self.chunks)
            )

    def _look_at_order(self, order: WorkBase, before: Job | None) -> None:
        unit = before.units.get(order.unit) if before else None
        assert unit is None or unit.retry_at is None or unit.retry_at <= self.now
        earlier = [work.attempt for work in self.orders if work.unit == order.unit]
        assert order.attempt > max(earlier, default=0)
        assert order.attempt > self.swept
        if isinstance(order, FinalizeWork):
            accepted = tuple(self.accepted[str(chunk)] for chunk in range(self.chunks))
            assert accepted == order.attempts
        self.orders.append(order)

    def act(self, action: str, choice: int) -> None:
        """One thing happens; ``choice`` says to which order or fact of all there ever were."""
        order = self.orders[-1 - choice % len(self.orders)] if self.orders else None
        match action:
            case "done" | "failed" | "broken" | "lost" if order is not None:
                fact = self._fact(order, action)
                self.facts.append(fact)
                self.tell(fact)
            case "again" if self.facts:
                self.tell(self.facts[choice % len(self.facts)])
            case "due":
                self.now += timedelta(seconds=choice % 90)
                self.tell(Due(JOB))
            case "dispatched":
                self.tell(Dispatched(JOB))
            case "cancel":
                self._command(CancelJob(job_id=JOB, reply_to=str(len(self.commands))))
            case "retry":
                self._command(RetryJob(job_id=JOB, reply_to=str(len(self.commands))))
            case "command again" if self.commands:
                command = self.commands[-1 - choice % min(4, len(self.commands))]
                assert not isinstance(self.tell(command), Changed)
            case "submit":
                assert not isinstance(self.tell(submit()), Changed)

    def _command(self, command: CancelJob | RetryJob) -> None:
        if isinstance(self.tell(command), Changed):
            self.commands.append(command)

    def _fact(self, order: WorkBase, action: str) -> Stimulus:
        if action == "done":
            return fact_of(order, self.chunks)  # type: ignore[arg-type] # sweeps are never kept
        stage = stage_of(order.unit)
        if action == "failed":
            return failed(stage, order.unit, order.attempt)
        problem = LOST if action == "lost" else TERMINAL
        return failed(stage, order.unit, order.attempt, problem=problem)

    def finish(self) -> None:
        """From here on everything goes well: the job completes."""
        for _ in range(6 * (self.chunks + 6)):
            assert self.job is not None
            if self.job.status is Status.COMPLETED:
                return
            self.now += LONG
            for stimulus in (RetryJob(job_id=JOB), Dispatched(JOB), Due(JOB)):
                self.tell(stimulus)
            awaited = {
                (name, unit.attempt)
                for name, unit in self.job.units.items()
                if unit.state is UnitState.ORDERED
            }
            for order in tuple(self.orders):
                if (order.unit, order.attempt) in awaited:
                    self.act("done", len(self.orders) - 1 - self.orders.index(order))
        raise AssertionError(f"the job is stuck: {self.job}")


def _chunks(job: Job) -> list[Unit]:
    return [unit for name, unit in job.units.items() if name.isdigit()]


@settings(max_examples=150, deadline=None)
@given(
    chunks=st.integers(1, 12),
    window=st.integers(1, 5),
    actions=st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 300)), min_size=20, max_size=90
    ),
)
def test_whatever_happens_the_job_keeps_its_promises_and_can_complete(
    chunks: int, window: int, actions: list[tuple[str, int]]
) -> None:
    world = World(chunks, window)
    for action, choice in actions:
        world.act(action, choice)
    world.finish()


@settings(max_examples=30, deadline=None)
@given(chunks=st.integers(1, 12), window=st.integers(1, 5), order=st.randoms(use_true_random=False))
def test_facts_in_any_order_and_each_of_them_twice_complete_the_job_once(
    chunks: int, window: int, order: object
) -> None:
    world = World(chunks, window)
    done = 0
    completions = 0
    while done < len(world.orders):
        fresh = world.orders[done:]
        order.shuffle(fresh)  # type: ignore[attr-defined] # hypothesis's Random
        done = len(world.orders)
        for work in fresh:
            for _ in range(2):
                outcome = world.tell(fact_of(work, chunks))  # type: ignore[arg-type] # no sweeps
                completions += (
                    isinstance(outcome, Changed) and outcome.job.status is Status.COMPLETED
                )
    assert world.job is not None
    assert (Status.COMPLETED, 1, chunks + 3) == (world.job.status, completions, len(world.orders))
