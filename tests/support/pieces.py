"""A song in the middle of its separation: made contributions where its chunks would lie."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from shared.blobs import chunk_key
from shared.contracts.audio import CHANNELS, Pass, Plan
from shared.contracts.job import Job, Phase, Status
from shared.contracts.request import Options, Source
from shared.contracts.unit import Unit, UnitState
from shared.separation.spans import header_of, pack_span
from shared.separation.stems import stems_of
from tests.support import audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.blobs import BlockingBlobs
    from shared.contracts.audio import Track

NOW: Final = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
JOB: Final = "j1"
ONE_PASS: Final = (Pass(members=(0,), segment=60_000, stride=45_000),)
#: Another start, and windows of another length.
TWO_PASSES: Final = (
    Pass(members=(0,), segment=60_000, stride=45_000, start=-12_345),
    Pass(members=(1,), segment=80_000, stride=60_000, start=-501),
)


class Made(NamedTuple):
    """A job whose chunks are all in the blob store, and what must come of it."""

    job: Job
    track: Track
    plan: Plan
    #: By name, (frames, channels) each.
    stems: dict[str, NDArray[np.float32]]

    def until(self, ready: int, **changes: Any) -> Job:  # noqa: ANN401 - any field of a job
        """The job when that many chunks were done."""
        units = {
            name: unit if int(name) < ready else replace(unit, state=UnitState.ORDERED)
            for name, unit in self.job.units.items()
        }
        return replace(self.job, **{"units": units, **changes})

    def key(self, chunk: int) -> str:
        """Where a chunk lies."""
        return chunk_key(self.job.run_id, self.job.units[str(chunk)].attempt, chunk)


def plan_of(frames: int, passes: tuple[Pass, ...] = ONE_PASS, chunk_frames: int = 90_000) -> Plan:
    """A plan of a model that makes four stems, of which two and what is left are wanted."""
    return Plan(
        model="made",
        digest="d1",
        sources=("drums", "bass", "other", "vocals"),
        computed=("drums", "vocals"),
        stems=("vocals", "drums", "instrumental"),
        frames=frames,
        passes=passes,
        chunk_frames=chunk_frames,
    )


def made_job(blobs: BlockingBlobs, plan: Plan, *, run: str = "") -> Made:
    """A job with chance contributions in each chunk; every chunk at another attempt."""
    chance = np.random.default_rng(7)
    mix = audio.noise(plan.frames, seed=3, level=0.08)
    track = audio.stored_track(blobs, mix)
    totals = {source: audio.silence(plan.frames) for source in plan.computed}
    units: dict[str, Unit] = {}
    for chunk in range(plan.chunks):
        header = header_of(plan, chunk)
        size = (len(header.sources), header.frames, CHANNELS)
        sums = chance.standard_normal(size, np.float32)
        for source, one in zip(header.sources, sums, strict=True):
            totals[source][header.start : header.start + header.frames] += one
        attempt = 1 + chunk % 3
        heard = audio.heard_of(mix, header.span)
        units[str(chunk)] = Unit(state=UnitState.DONE, attempt=attempt)
        blobs.put(chunk_key(run or JOB, attempt, chunk), pack_span(header, sums, heard))
    job = Job(
        id=JOB,
        source=Source(url="https://example.org/a.mp3"),
        options=Options(),
        status=Status.PROCESSING,
        phase=Phase.SEPARATION,
        created_at=NOW,
        updated_at=NOW,
        track=track,
        plan=plan,
        run=run,
        units=units,
    )
    return Made(job, track, plan, stems_of(plan, track, mix, totals, plan.stems))
