"""Jobs by the thousand, written straight into the bucket: what months of use leave there.

Each record is what the scheduler's own rules make of a job's life (see ``tests.support.jobs``),
with a name, an age and an address of its own.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import nats
from msgspec.structs import replace

from services.scheduler.decision import Dispatched
from shared.contracts.audio import Metadata
from shared.contracts.codec import encode
from shared.contracts.request import Source, Terms
from shared.jetstream.topology import JOBS_SUBJECT
from tests.benchmarks.hands import CHUNKS
from tests.support import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.contracts.job import Job

#: One song in ``RARE_EVERY`` is called this; every second one ``COMMON``, but none that failed.
RARE: Final = "nightingale"
RARE_EVERY: Final = 500
COMMON: Final = "summer"
OWNERS: Final = tuple(f"owner-{number}" for number in range(20))
_WORDS: Final = (
    *("river", "night", "blue", "heart", "road", "fire", "rain", "golden", "stranger", "dance"),
    *("winter", "machine", "ocean", "letter", "empty", "silver", "morning", "shadow", "paper"),
)
#: The last one ended just now; the first of 100,000 less than the 30 days ago that jobs are kept.
_APART: Final = timedelta(seconds=20)
#: Of twenty jobs one has failed and one was called off.
_OF: Final = 20
#: Records under way at once.
_BATCH: Final = 1000
_TIMES: Final = (
    *("created_at", "updated_at", "queued_at", "started_at", "resumed_at", "phase_at"),
    "finished_at",
)


def finished(count: int) -> Iterator[Job]:
    """Jobs that have ended, oldest first; nearly all of them well."""
    chance = random.Random(1)  # noqa: S311 - the same songs every time
    completed, failed, cancelled = _completed(), jobs.broken(), jobs.cancelled()
    now = datetime.now(UTC)
    for number in range(count):
        ended = {0: failed, 1: cancelled}.get(number % _OF, completed)
        yield _told(ended, number, now - (count - number) * _APART, chance)


def waiting(count: int) -> Iterator[Job]:
    """Jobs that wait for their turn, the next one first."""
    chance = random.Random(2)  # noqa: S311 - the same songs every time
    now, pending = datetime.now(UTC), jobs.pending()
    for number in range(count):
        yield _told(pending, number, now - (count - number) * timedelta(milliseconds=1), chance)


async def write(nats_url: str, records: Iterable[Job]) -> None:
    """Put records that nobody has into the bucket."""
    nc = await nats.connect(nats_url)
    try:
        js = nc.jetstream()
        under_way = []
        for job in records:
            under_way.append(await js.publish_async(JOBS_SUBJECT + job.id, encode(job)))
            if len(under_way) == _BATCH:
                await asyncio.gather(*under_way)
                under_way.clear()
        await asyncio.gather(*under_way)
    finally:
        await nc.close()


def _completed() -> Job:
    separated = (jobs.separated(chunk) for chunk in range(CHUNKS))
    return jobs.live(
        None,
        jobs.submit(),
        Dispatched(jobs.JOB),
        jobs.downloaded(chunks=CHUNKS),
        jobs.prepared(chunks=CHUNKS),
        *separated,
        jobs.finalized(),
    )


def _told(job: Job, number: int, at: datetime, chance: random.Random) -> Job:
    """The same life, of another song and another owner, at another time."""
    title = " ".join(chance.sample(_WORDS, 3))
    title += f" {COMMON}" * (number % 2) + f" {RARE}" * (number % RARE_EVERY == 7)
    artist = f"The {chance.choice(_WORDS)} {chance.choice(_WORDS)}s"
    later = at - job.created_at
    times = {name: value + later for name in _TIMES if (value := getattr(job, name)) is not None}
    return replace(
        job,
        id=f"{chance.getrandbits(64):016x}",
        source=Source(url=f"https://example.org/{title.replace(' ', '-')}-{number}.mp3"),
        terms=Terms(owner=chance.choice(OWNERS)),
        metadata=Metadata(title=title, artist=artist, duration=180.0, extractor="generic"),
        timeline=tuple(replace(moment, at=moment.at + later) for moment in job.timeline),
        **times,
    )
