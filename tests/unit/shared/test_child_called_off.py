"""Requests that are left early: heeded, stubborn, not yet begun; alone and beside others."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from shared.child import PATIENCE_SECONDS
from tests.support.children.asking import (
    PATIENCE,
    Starter,
    ask,
    begun,
    crash_of,
    failure,
    rest,
    under_way,
)
from tests.support.children.obedient import Do

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", ["return", "report"])
async def test_one_that_heeds_its_calling_off_leaves_the_child_alive(
    start: Starter, how: str
) -> None:
    child = await start(patience=PATIENCE)
    await (await begun(child, Do("heed", how))).aclose()
    assert child.alive
    assert len(child._reports) == 0
    # The lane is free.
    assert await ask(child, "echo", "a", 1) == ["a0"]


@pytest.mark.parametrize("how", ["return", "report"])
async def test_a_cancelled_task_calls_off_its_request_and_the_other_finishes(
    start: Starter, tmp_path: Path, how: str
) -> None:
    child = await start(lanes=2, patience=PATIENCE)
    other = await begun(child, Do("gate", "one"))
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(child.ask(Do("heed", how), silence=PATIENCE)) as reports:
            async for _ in reports:
                heard.set()

    listening = asyncio.create_task(listen())
    await asyncio.wait_for(heard.wait(), PATIENCE)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert await ask(child, "echo", "a", 1) == ["a0"]
    (tmp_path / "one").touch()
    assert await rest(other) == ["through one"]
    assert child.alive


async def test_one_called_off_before_it_begins_never_starts(start: Starter, tmp_path: Path) -> None:
    child = await start(patience=PATIENCE)
    first = await begun(child, Do("gate", "one"))
    waiting = asyncio.create_task(ask(child, "touch", "started"))
    await under_way(child, 2)
    waiting.cancel()
    # It is answered although the only lane is taken: nobody waits for the patience to end.
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, PATIENCE / 2)
    (tmp_path / "one").touch()
    assert await rest(first) == ["through one"]
    assert await ask(child, "echo", "a", 1) == ["a0"]
    assert not (tmp_path / "started").exists()


async def test_a_stubborn_one_alone_is_killed(start: Starter) -> None:
    child = await start(patience=PATIENCE_SECONDS)
    silent = await begun(child, Do("silent"))
    # A cancelled job stops within two seconds.
    async with asyncio.timeout(2):
        await silent.aclose()
    assert not child.alive
    said = await failure(child, "echo")
    assert said == "worker.crashed: killed: another request was called off"


async def test_a_stubborn_one_beside_another_is_left_and_its_reports_are_dropped(
    start: Starter, tmp_path: Path
) -> None:
    child = await start(lanes=3, patience=0.1)
    other = await begun(child, Do("gate", "one"))
    await (await begun(child, Do("silent"))).aclose()
    await (await begun(child, Do("gate", "two"))).aclose()
    assert child.alive
    (tmp_path / "two").touch()
    (tmp_path / "one").touch()
    assert await rest(other) == ["through one"]
    assert await ask(child, "echo", "a", 2) == ["a0", "a1"]


async def test_of_two_stubborn_ones_the_last_costs_the_child_its_life(start: Starter) -> None:
    child = await start(lanes=2, patience=0.1)
    first, second = await begun(child, Do("silent")), await begun(child, Do("busy"))
    await asyncio.wait_for(asyncio.gather(first.aclose(), second.aclose()), PATIENCE)
    assert not child.alive


async def test_a_lane_that_an_abandoned_one_keeps_is_found_by_the_silence(start: Starter) -> None:
    child = await start(lanes=2, patience=0.1)
    other = await begun(child, Do("heed"))
    await (await begun(child, Do("silent"))).aclose()
    said = await failure(child, "echo", "a", 1, silence=0.2)
    assert said == "worker.timed_out: it said nothing for 0 s"
    assert (await crash_of(other)).startswith("worker.crashed")


async def test_without_patience_one_that_is_left_ends_all(start: Starter) -> None:
    child = await start(lanes=2)
    left, other = await begun(child, Do("heed")), await begun(child, Do("silent"))
    await left.aclose()
    assert not child.alive
    assert await crash_of(other) == "worker.crashed: killed: another request was called off"
