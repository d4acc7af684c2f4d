"""The ring: one log of events, any number of positions in it."""

from __future__ import annotations

import asyncio

import pytest

from services.gateway.ring import Frame, Ring


def frame(number: int) -> Frame:
    return Frame(f"j{number}", number, last=False, text=b"%d" % number)


def filled(frames: int, length: int = 4) -> Ring:
    ring = Ring(length)
    for number in range(frames):
        ring.append(frame(number))
    return ring


@pytest.mark.parametrize(
    ("frames", "position", "numbers"),
    [
        (0, 0, []),
        (3, 0, [0, 1, 2]),
        (3, 2, [2]),
        (3, 3, []),
        (4, 0, [0, 1, 2, 3]),
        (5, 0, None),
        (5, 1, [1, 2, 3, 4]),
        (99, 95, [95, 96, 97, 98]),
        (99, 94, None),
        (99, 99, []),
    ],
)
def test_what_came_since_a_position(frames: int, position: int, numbers: list[int] | None) -> None:
    expected = None if numbers is None else [frame(number) for number in numbers]
    assert expected == filled(frames).since(position)


def test_the_end_counts_all_there_ever_were() -> None:
    assert [filled(frames).end for frames in (0, 3, 99)] == [0, 3, 99]


async def test_who_waits_is_woken_by_a_frame() -> None:
    ring = filled(3)
    waiting = [asyncio.create_task(ring.wait(3, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    ring.append(frame(3))
    assert await asyncio.gather(*waiting) == [True] * 3


async def test_who_is_behind_does_not_wait() -> None:
    assert await filled(3).wait(2, 5)


async def test_a_wait_ends_with_its_time() -> None:
    assert not await filled(3).wait(3, 0.01)


async def test_who_waits_can_be_woken_for_nothing() -> None:
    ring = filled(3)
    waiting = asyncio.create_task(ring.wait(3, 5))
    await asyncio.sleep(0)
    ring.wake()
    assert not await waiting


async def test_one_who_stops_waiting_takes_nobody_along() -> None:
    ring = filled(3)
    leaving, staying = (asyncio.create_task(ring.wait(3, 5)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    ring.append(frame(3))
    assert await staying


def test_long_frames_are_not_kept_for_long() -> None:
    ring = Ring(length=100, max_bytes=1000)
    for number in range(50):
        ring.append(Frame("", number, last=False, text=b"x" * 300))
    assert [frame.revision for frame in ring.since(47) or ()] == [47, 48, 49]
    assert ring.since(46) is None
    ring.append(Frame("", 50, last=False, text=b"x" * 5000))
    assert (ring.since(50), ring.since(51)) == (None, [])


async def test_who_waits_is_woken_to_begin_anew() -> None:
    ring = filled(3)
    waiting = asyncio.create_task(ring.wait(3, 5))
    await asyncio.sleep(0)
    ring.begin_anew()
    assert (await waiting, ring.era) == (False, 1)
