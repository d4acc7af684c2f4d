"""What a processing job needs next, from what is done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.orders import ORDERS_AT_ONCE, needed, next_orders, order
from shared.contracts.audio import Metadata
from shared.contracts.job import Job
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import FinalizeWork, PrepareWork, SeparateWork
from tests.support import jobs
from tests.support.jobs import NOW, done, ordered

WAITING = Unit(UnitState.WAITING, 1, 1, NOW + timedelta(seconds=1))
IDLE = Unit(UnitState.WAITING, 1)
SOURCE = {"source": done()}
PREPARED = {**SOURCE, "prepare": done()}


def job_with(units: dict[str, Unit], *, planned: bool = True) -> Job:
    return replace(jobs.separating(), units=units, plan=jobs.plan() if planned else None)


@pytest.mark.parametrize(
    ("units", "planned", "names"),
    [
        ({}, False, ["source"]),
        ({"source": ordered()}, False, []),
        ({"source": WAITING}, False, []),
        ({"source": IDLE}, False, ["source"]),
        (SOURCE, False, ["prepare"]),
        ({**SOURCE, "prepare": ordered()}, False, []),
        ({**SOURCE, "prepare": IDLE}, False, ["prepare"]),
        (PREPARED, True, ["0", "1"]),
        ({**PREPARED, "0": ordered()}, True, ["1"]),
        ({**PREPARED, "0": ordered(), "1": ordered()}, True, []),
        ({**PREPARED, "0": WAITING, "1": ordered()}, True, ["2"]),
        ({**PREPARED, "0": WAITING, "1": done()}, True, ["2"]),
        ({**PREPARED, "0": WAITING, "1": WAITING, "2": WAITING}, True, []),
        ({**PREPARED, "0": IDLE, "1": done()}, True, ["0", "2"]),
        ({**PREPARED, "0": done(), "1": ordered()}, True, ["2"]),
        ({**PREPARED, "2": done()}, True, ["0", "1"]),
        ({**PREPARED, "0": done(), "1": done(), "2": ordered()}, True, []),
        ({**PREPARED, "0": done(), "1": done(), "2": done()}, True, ["stems"]),
        (
            {**PREPARED, "0": done(), "1": done(), "2": done(), "stems": ordered()},
            True,
            [],
        ),
        ({**PREPARED, "0": done(), "1": done(), "2": done(), "stems": IDLE}, True, ["stems"]),
    ],
)
def test_what_is_needed(units: dict[str, Unit], *, planned: bool, names: list[str]) -> None:
    assert names == list(needed(job_with(units, planned=planned), window=2))


@pytest.mark.parametrize("window", range(1, 6))
def test_the_window_bounds_what_is_ordered(window: int) -> None:
    job, words = next_orders(job_with(PREPARED), window)
    assert min(window, 3) == len(words) == len(jobs.out(job))


@pytest.mark.parametrize(
    ("unit", "floor", "attempt"),
    [(None, 0, 1), (None, 4, 5), (IDLE, 0, 2), (IDLE, 4, 5), (Unit(UnitState.WAITING, 7), 4, 8)],
)
def test_an_attempt_is_above_every_one_before(unit: Unit | None, floor: int, attempt: int) -> None:
    units = {**SOURCE, **({"prepare": unit} if unit else {})}
    job = replace(job_with(units, planned=False), attempt_floor=floor)
    after, (word,) = next_orders(job, 2)
    assert isinstance(word, PrepareWork)
    assert (attempt, attempt) == (word.attempt, after.units["prepare"].attempt)


def test_failures_are_remembered_until_the_unit_is_done() -> None:
    units = {**SOURCE, "prepare": Unit(UnitState.WAITING, 2, 2)}
    after, _ = next_orders(job_with(units, planned=False), 2)
    assert ordered(3, 2) == after.units["prepare"]


def test_what_is_to_be_said_again_comes_first() -> None:
    job = job_with({**PREPARED, "1": ordered(2, 1)})
    _, words = next_orders(job, 2, again=("1",))
    assert [(word.unit, word.attempt) for word in words] == [("1", 2), ("0", 1)]


def test_the_finalization_names_each_chunk_s_accepted_attempt() -> None:
    units = {**PREPARED, "0": done(3), "1": done(), "2": done(2), "stems": ordered()}
    job = replace(job_with(units), metadata=None)
    word = order(job, "stems")
    assert isinstance(word, FinalizeWork)
    assert ((3, 1, 2), Metadata(), job.options.format) == (
        word.attempts,
        word.metadata,
        word.format,
    )


def test_a_chunk_s_order_says_which() -> None:
    word = order(job_with({**PREPARED, "2": ordered(4)}), "2")
    assert isinstance(word, SeparateWork)
    assert (word.unit, word.chunk, word.attempt) == ("2", 2, 4)


def test_nothing_but_the_source_can_be_ordered_without_a_track() -> None:
    with pytest.raises(AssertionError, match="track"):
        order(replace(job_with({"prepare": ordered()}), track=None), "prepare")
    with pytest.raises(AssertionError, match="plan"):
        order(job_with({"0": ordered()}, planned=False), "0")


def test_one_decision_gives_no_more_orders_than_a_record_holds() -> None:
    plan = replace(jobs.plan(), frames=300 * jobs.plan().chunk_frames)
    job = replace(job_with(PREPARED), plan=plan)
    job, words = next_orders(job, 200)
    assert len(words) == len(jobs.out(job)) == ORDERS_AT_ONCE
    job, words = next_orders(job, 200)
    assert [word.unit for word in words] == [
        str(chunk) for chunk in range(ORDERS_AT_ONCE, 2 * ORDERS_AT_ONCE)
    ]
