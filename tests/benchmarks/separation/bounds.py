"""The memory and the disk that tracks of some lengths take: neither but the disk may grow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from tests.support.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


async def bounds(lengths: Sequence[int], say: Callable[[str], None]) -> None:
    """One engine, one finalizer for each track, in this order; a small network, one stem."""
    with tempfile.TemporaryDirectory() as name:
        workers = Workers(Path(name))
        try:
            for seconds in lengths:
                began = perf_counter()
                track = workers.stored(seconds)
                plan, engine = await workers.separate(track)
                disk = sum(workers.chunks(track))
                finalizer = await workers.finalize(track, plan)
                say(
                    f"{seconds:6} s: engine {engine / 1e6:6.1f} MB,"
                    f" finalizer {finalizer / 1e6:6.1f} MB,"
                    f" {plan.chunks} chunks of {disk / 1e6:.1f} MB;"
                    f" took {perf_counter() - began:.0f} s"
                )
        finally:
            await workers.engines.close()
