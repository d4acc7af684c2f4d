"""A process of an alternative, for as long as it is measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.cli.supervisor import Supervised
from tests.benchmarks.plane import GRACE

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path


async def run(stack: AsyncExitStack, folder: Path, name: str, command: list[str]) -> Supervised:
    """Start it; ``stack`` stops it."""
    process = Supervised(
        name=name,
        command=command,
        environment=os.environ,
        log=folder / f"{name}.log",
        on_death=_died,
    )
    await process.start()
    stack.push_async_callback(process.stop, GRACE)
    return process


def _died(name: str, code: int) -> None:
    raise AssertionError(f"{name} ended with {code}")
