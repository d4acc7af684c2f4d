"""Which scheduler acts, as they say themselves, and what one has written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from msgspec import Struct

from tests.acceptance.api import PATIENCE
from tests.support.stack import LOOK_SECONDS, listening

if TYPE_CHECKING:
    from tests.support.stack import RunningStack

NAMES: Final = ("scheduler-1", "scheduler-2")
#: Seconds in which a scheduler that runs says whether it acts; a frozen one does not.
ASK_SECONDS: Final = 0.5


class _Line(Struct):
    """What matters of a log's line."""

    event: str = ""
    revision: int = 0


async def leads(stack: RunningStack, session: aiohttp.ClientSession, name: str) -> bool:
    """Whether a scheduler says that it acts; one that says nothing does not."""
    pid = stack.members().get(name, 0)
    try:
        (port,) = listening(pid)
        async with asyncio.timeout(ASK_SECONDS):
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                return "stembus_scheduler_leading 1.0" in await answer.text()
    except (ValueError, TimeoutError, OSError, aiohttp.ClientError):
        return False


async def leader(stack: RunningStack, session: aiohttp.ClientSession, before: int = 0) -> str:
    """Wait until one acts, which is not the process ``before``; its name."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for name in NAMES:
                if stack.members().get(name) != before and await leads(stack, session, name):
                    return name
            await asyncio.sleep(LOOK_SECONDS)


def log_bytes(stack: RunningStack, name: str) -> int:
    """How long a scheduler's log is by now."""
    return (stack.data / "logs" / f"{name}.log").stat().st_size


def said_since(stack: RunningStack, name: str, start: int) -> list[_Line]:
    """What a scheduler has logged after its log was ``start`` bytes long."""
    data = (stack.data / "logs" / f"{name}.log").read_bytes()[start:]
    return [msgspec.json.decode(line, type=_Line) for line in data.splitlines()]
