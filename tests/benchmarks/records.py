"""Jobs by the thousand, written straight into the bucket: what months of use leave there.

Each record is what the scheduler's own rules make of a job's life (see ``tests.support.jobs``),
with a name, an age and an address of its own.
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import nats
from msgspec.structs import replace

from services.scheduler.decision import Dispatched
from shared.contracts.audio import Metadata
from shared.contracts.codec import encode
from shared.contracts.request import Source
from shared.jetstream.topology import JOBS_SUBJECT
from tests.benchmarks.hands import CHUNKS
from tests.support import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.contracts.job import Job

#: One song in ``RARE_EVERY`` is called this; every second one is called ``COMMON``.
RARE: Final = "nightingale"
COMMON: Final = "summer"
RARE_EVERY: Final = 500
_WORDS: Final = (
    *("river", "night", "blue", "heart", "road", "fire", "rain", "golden", "stranger", "dance"),
    *("winter", "machine", "ocean", "letter", "empty", "silver", "morning", "shadow", "paper"),
)
_SECONDS_APART: Final = 30
#: Of twenty jobs one has failed and one was called off.
_OF: Final = 20
#: Records under way at once.
_BATCH: Final = 1000


def finished(count: int) -> Iterator[Job]:
    """Jobs that have ended, oldest first; nearly all of them well."""
    chance = random.Random(1)  # noqa: S311 - the same songs every time
    completed, failed, cancelled = _completed(), jobs.broken(), jobs.cancelled()
    for number in range(count):
        ended = {0: failed, 1: cancelled}.get(number % _OF, completed)
        yield _named(ended, number, chance)


def waiting(count: int) -> Iterator[Job]:
    """Jobs that wait for their turn, the next one first."""
    chance = random.Random(2)  # noqa: S311 - the same songs every time
    return (_named(jobs.pending(), number, chance) for number in range(count))


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


def _named(job: Job, number: int, chance: random.Random) -> Job:
    """The same life, of another song, at another time."""
    created = job.created_at + timedelta(seconds=_SECONDS_APART * number)
    words = [*chance.sample(_WORDS, 3), *([COMMON] if number % 2 else [])]
    title = " ".join([*words, *([RARE] if number % RARE_EVERY == 0 else [])])
    artist = f"The {chance.choice(_WORDS)} {chance.choice(_WORDS)}s"
    return replace(
        job,
        id=f"{chance.getrandbits(64):016x}",
        source=Source(url=f"https://example.org/{title.replace(' ', '-')}-{number}.mp3"),
        created_at=created,
        updated_at=created,
        metadata=Metadata(title=title, artist=artist, duration=180.0, extractor="generic"),
    )
