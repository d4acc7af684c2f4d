"""Engines are lent out lane by lane, or whole to whoever must be alone with one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from services.separator.engines import Engines
from services.separator.layout import Seat
from services.separator.messages import WarmedUp, WarmUp
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Idle:
    """A child that is never asked anything but to warm up."""

    def __init__(self) -> None:
        self.alive = True
        self.warming = False
        self.warm = asyncio.Event()

    async def ask(self, request: object, *, silence: float) -> AsyncGenerator[Any, None]:
        assert isinstance(request, WarmUp)
        assert silence
        self.warming = True
        await self.warm.wait()
        self.warming = False
        if not self.alive:
            raise RetryableError(Code.WORKER_CRASHED, "dead")
        yield WarmedUp(models=request.models)

    async def kill(self) -> None:
        self.alive = False


class Borrowers:
    """Whoever wants a lane, and who has one."""

    def __init__(self, *lanes: int) -> None:
        seats = [Seat("cpu", number, count, 1) for number, count in enumerate(lanes)]
        self.engines = Engines(start=self._start, seats=seats, log=print)
        self.children: list[Idle] = []
        self.has: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._done: dict[str, asyncio.Event] = {}

    async def come(self, *names: str) -> None:
        """These want a lane, one after the other; in capitals: all of an engine."""
        for name in names:
            self._done[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._borrow(name))
            await settled()

    async def go(self, *names: str) -> None:
        """These have done with it."""
        for name in names:
            self._done[name].set()
            await self._tasks[name]
            await settled()

    async def give_up(self, name: str) -> None:
        """This one does not wait any longer."""
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settled()

    async def _borrow(self, name: str) -> None:
        async with self.engines.lend(alone=name.isupper()) as engine:
            engine.has("some model")
            self.has.append(name)
            await self._done[name].wait()
            self.has.remove(name)

    async def _start(self, seat: Seat) -> Idle:
        assert seat.lanes
        self.children.append(Idle())
        return self.children[-1]


async def settled() -> None:
    """Everybody has done what can be done by now."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_as_many_are_at_work_as_there_are_lanes() -> None:
    at = Borrowers(2, 1)
    await at.come("a", "b", "c", "d", "e")
    assert at.has == ["a", "b", "c"]
    assert at.engines.lanes == 3
    await at.go("b")
    assert at.has == ["a", "c", "d"]
    await at.go("a", "c", "d", "e")
    assert at.engines.idle


async def test_who_must_be_alone_waits_for_a_whole_engine_and_is_waited_for() -> None:
    at = Borrowers(2)
    await at.come("a", "B", "c")
    # There is a lane for c, but then B might wait for ever.
    assert at.has == ["a"]
    await at.go("a")
    assert at.has == ["B"]
    await at.go("B")
    assert at.has == ["c"]
    await at.go("c")
    assert at.engines.idle


async def test_of_two_that_must_be_alone_one_is_after_the_other() -> None:
    at = Borrowers(2)
    await at.come("a", "b", "C", "D", "e", "f")
    await at.go("a")
    assert at.has == ["b"]
    await at.go("b")
    assert at.has == ["C"]
    await at.go("C")
    assert at.has == ["D"]
    await at.go("D")
    assert at.has == ["e", "f"]
    await at.go("e", "f")


async def test_an_engine_without_work_is_whole_whatever_the_other_does() -> None:
    at = Borrowers(2, 2)
    await at.come("a", "B", "c")
    assert at.has == ["a", "B", "c"]
    await at.go("a", "B", "c")
    assert at.engines.idle


async def test_who_must_be_alone_takes_the_engine_that_is_whole() -> None:
    at = Borrowers(2, 1)
    await at.come("a", "B")  # of either engine one lane is free, of the second that is all
    assert at.has == ["a", "B"]
    await at.go("a", "B")


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    at = Borrowers(2)
    await at.come("a", "B", "c")
    await at.give_up("B")
    assert at.has == ["a", "c"]
    await at.go("a", "c")
    assert at.engines.idle


@pytest.mark.parametrize("dies_again", [False, True])
async def test_who_must_be_alone_is_not_beside_the_warming_of_its_engine(
    *, dies_again: bool
) -> None:
    at = Borrowers(2)
    await at.come("a", "b")
    at.children[0].alive = False
    await at.go("a")
    first, second = at.children
    assert second.warming
    assert not first.warming
    await at.come("A")
    await at.go("b")
    # b's lane is free, a's is the warming's; without that, A would be alone.
    assert at.has == []
    second.alive = not dies_again
    second.warm.set()
    await settled()
    assert at.has == ["A"]
    assert len(at.children) == (3 if dies_again else 2)
    await at.go("A")
    assert at.engines.idle


async def test_engines_end_while_one_is_warmed() -> None:
    at = Borrowers(1)
    await at.come("a")
    at.children[0].alive = False
    await at.go("a")
    await at.engines.close()
    await settled()
    assert [one.alive for one in at.children] == [False, False]
    assert at.engines.idle


async def test_one_whose_engine_can_t_be_started_gives_its_lanes_back() -> None:
    async def fails(_: Seat) -> Idle:
        raise OSError("no room")

    engines = Engines(start=fails, seats=[Seat("cpu", 0, 2, 1)], log=print)
    for alone in (True, False, True):
        with pytest.raises(OSError, match="no room"):
            async with AsyncExitStack() as lent:
                await lent.enter_async_context(engines.lend(alone=alone))
    assert engines.idle


async def test_an_engine_that_was_woken_is_the_one_that_is_lent() -> None:
    at = Borrowers(1, 1)
    at.engines.wake()
    assert at.engines.idle
    await settled()
    await at.come("a")
    assert (len(at.children), at.has) == (1, ["a"])
    await at.go("a")
    await at.engines.close()
    assert [one.alive for one in at.children] == [False]


async def test_an_engine_that_does_not_wake_is_started_when_it_is_needed() -> None:
    said: list[str] = []
    faults = [RetryableError(Code.WORKER_CRASHED, "no room yet")]

    async def start(_: Seat) -> Idle:
        if faults:
            raise faults.pop()
        return Idle()

    engines = Engines(start=start, seats=[Seat("cpu", 0, 1, 1)], log=said.append)
    engines.wake()
    await settled()
    assert len(said) == 1
    async with engines.lend() as engine:
        assert engine.alive
    assert engines.idle


async def test_who_must_be_alone_holds_up_one_engine_and_no_other() -> None:
    at = Borrowers(2, 2)
    await at.come("a", "b", "c")
    assert at.has == ["a", "b", "c"]
    await at.come("D", "e", "f")
    # D waits for the engine with one lane free; nobody else is lent that one.
    assert sorted(at.has) == ["a", "b", "c"]
    await at.go("a")
    assert at.has == ["b", "c", "e"]
    await at.go("b")
    assert at.has == ["c", "e", "D"]
    await at.go("c")
    assert at.has == ["e", "D", "f"]
    await at.go("D", "e", "f")
    assert at.engines.idle
