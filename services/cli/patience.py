"""Waiting as long as a busy server asks to, within bounds."""

from __future__ import annotations

import asyncio
import random
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from services.cli.answers import ApiError
from services.cli.times import duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds that ``--wait`` waits at most for one submission to be taken.
PATIENCE_SECONDS: Final = 1_800.0
#: Pause where the server does not say how long.
PAUSE_SECONDS: Final = 5.0
#: Waiting clients come back spread over this share of the time, and not all at once.
_SPREAD: Final = 0.1

T = TypeVar("T")


async def patiently(
    attempt: Callable[[], Awaitable[T]], seconds: float, say: Callable[[str], None]
) -> T:
    """What comes of ``attempt``; while the server is busy, again, for ``seconds`` at most."""
    end = monotonic() + seconds
    while True:
        try:
            return await attempt()
        except ApiError as exc:
            asked = PAUSE_SECONDS if exc.retry_after is None else exc.retry_after
            pause = asked * random.uniform(1.0, 1.0 + _SPREAD)  # noqa: S311 - no secret
            if not exc.busy or monotonic() + pause > end:
                raise
            say(f"{exc.problem.title}; trying again in {duration(pause)}")
            await asyncio.sleep(pause)
