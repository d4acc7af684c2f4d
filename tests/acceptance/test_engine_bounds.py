"""A track ten times as long takes no more memory; its chunks are stored one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.contracts.audio import FRAME_BYTES
from tests.support.stack import eventually
from tests.support.workers import Workers

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds of the two tracks.
SHORT, LONG = 120, 1200
#: How much higher a peak may be: by a tenth, and by what an allocator keeps for later.
SHARE, ALLOWANCE = 1.1, 8 << 20
#: Bytes of chunks for each byte of the track: they overlap by a part of a window.
OVERLAP = 1.1
#: Bytes that an engine without work gives back at least, of what it keeps for the next window.
GIVEN_BACK = 50 << 20


@pytest.mark.timeout(180)
async def test_a_track_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    engine, finalizer = [], []
    try:
        for seconds in (SHORT, LONG):
            track = workers.stored(seconds)
            plan, peak = await workers.separate(track)
            engine.append(peak)
            assert sum(workers.chunks(track)) <= OVERLAP * track.frames * FRAME_BYTES
            finalizer.append(await workers.finalize(track, plan))
        kept = engine[-1] - GIVEN_BACK
        await eventually(lambda: workers.held() < kept, "memory that is given back")
    finally:
        await workers.engines.close()
    for short, long in (engine, finalizer):
        assert 0 < long <= SHARE * short + ALLOWANCE
