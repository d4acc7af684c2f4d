"""The queue is told when it changes, at a bearable pace."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.outlook import CLOSEST_SECONDS, FARTHEST_SECONDS, Outlook
from shared.contracts.live import Queue
from tests.support.jobs import NOW
from tests.support.realm import Clock

EMPTY = Queue(at=NOW)
LONGER = Queue(at=NOW, order=("j1",), waiting=1)


class Wall:
    """An outlook on a wall, and what is written there."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[Queue] = []
        self.asked = 0
        self.broken = False
        self.outlook = Outlook(send=self._send, steady=self.clock.steady)

    async def _send(self, queue: Queue) -> None:
        if self.broken:
            raise ConnectionError
        self.told.append(queue)

    async def tell(self, queue: Queue) -> None:
        def ask() -> Queue:
            self.asked += 1
            return replace(queue, at=NOW + timedelta(seconds=self.clock.steady()))

        await self.outlook.tell(ask)


@pytest.mark.parametrize(
    ("seconds", "second", "times"),
    [
        (0.0, LONGER, 1),
        (CLOSEST_SECONDS - 0.01, LONGER, 1),
        (CLOSEST_SECONDS, LONGER, 2),
        (CLOSEST_SECONDS, EMPTY, 1),
        (FARTHEST_SECONDS - 0.01, EMPTY, 1),
        (FARTHEST_SECONDS, EMPTY, 2),
    ],
)
async def test_it_is_told_when_it_has_changed_and_now_and_then(
    seconds: float, second: Queue, times: int
) -> None:
    wall = Wall()
    await wall.tell(EMPTY)
    wall.clock.forward(seconds)
    await wall.tell(second)
    assert times == len(wall.told)


async def test_what_would_not_be_told_is_not_even_asked_for() -> None:
    wall = Wall()
    await wall.tell(EMPTY)
    wall.clock.forward(CLOSEST_SECONDS / 2)
    await wall.tell(LONGER)
    assert wall.asked == 1


async def test_it_may_be_lost() -> None:
    wall = Wall()
    wall.broken = True
    await wall.tell(EMPTY)
    wall.broken = False
    wall.clock.forward(FARTHEST_SECONDS)
    await wall.tell(EMPTY)
    assert len(wall.told) == 1
