"""Tells a story; one that fails is told as short as it can be."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tests.model.story import Story
from tests.model.watch import ViolationError
from tests.model.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.story import Step


def told(steps: list[Step], world: Callable[[], World] = World) -> None:
    """Tell it; the ``ViolationError`` says with which steps it comes about."""
    try:
        Story(world()).tell(steps)
    except ViolationError as error:
        shortest = _shortened(steps, world)
        error.add_note("\n".join(["the shortest story that fails:", *map(repr, shortest)]))
        raise


def _shortened(steps: list[Step], world: Callable[[], World]) -> list[Step]:
    """Without whatever it fails without, in pieces that get smaller."""
    piece = len(steps) // 2
    while piece:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + piece :]
            if _fails(fewer, world):
                steps = fewer
            else:
                start += piece
        piece //= 2
    return steps


def _fails(steps: list[Step], world: Callable[[], World]) -> bool:
    with suppress(ViolationError):
        Story(world()).tell(steps)
        return False
    return True
