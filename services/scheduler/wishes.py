"""What a job asks for, as a key: jobs with the same key come to the same stems.  Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from shared.contracts.audio import INSTRUMENTAL, VOCALS, Metadata
from shared.contracts.models import AUTO, AUTO_CANDIDATES
from shared.separation.identity import result_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.contracts.audio import Plan
    from shared.contracts.job import Job
    from shared.contracts.live import ModelOffer
    from shared.contracts.request import Options, Source

#: Bytes of a key: two of them never meet.
_KEY_BYTES: Final = 16


def source_key(source: Source) -> str:
    """What is fetched and what is said of it: the address, or an upload's bytes and name.

    The name shows in the stems' tags.  An upload whose bytes nobody has counted is like no other.
    """
    if source.url is not None:
        return _hash("url", source.url)
    if source.digest is not None:
        return _hash("bytes", source.digest, source.name or "")
    return _hash("upload", source.upload or "")


def wish_key(source: Source, options: Options) -> str:
    """What a job asks for; whether it takes what is there already is no part of it."""
    asked = msgspec.structs.replace(options, reuse=True)
    return _hash("wish", source_key(source), msgspec.json.encode(asked).decode())


def wish_of(job: Job) -> str:
    """The wish of ``job``."""
    return wish_key(job.source, job.options)


def result_of(job: Job) -> str | None:
    """The id of the result that ``job`` comes to; None as long as it is not planned."""
    if job.track is None or job.plan is None:
        return None
    return result_id(job.track, job.plan, job.options.format, job.metadata or Metadata())


class Aim(NamedTuple):
    """What a job comes to, as far as it is known."""

    wish: str
    #: Ids; None where it has no track yet, no plan.
    track: str | None
    result: str | None


def aim_of(job: Job) -> Aim:
    """What ``job`` comes to."""
    return Aim(wish_of(job), job.track.id if job.track is not None else None, result_of(job))


def same_stems(one: Aim, other: Aim) -> bool:
    """Whether both come to the same: they ask for the same, or were found to be about it."""
    return one.wish == other.wish or (one.result is not None and one.result == other.result)


def parted(one: Aim, other: Aim) -> bool:
    """Whether both have turned out to come to different things, though they seemed not to."""
    return one.wish != other.wish and (
        (None not in {one.track, other.track} and one.track != other.track)
        or (None not in {one.result, other.result} and one.result != other.result)
    )


def still_offered(plan: Plan, offers: Mapping[str, Sequence[ModelOffer]]) -> bool:
    """Whether nobody says, for certain, that the model has other weights by now."""
    digests = {offer.digest for offer in offers.get(plan.model, ()) if offer.ready}
    return not digests or plan.digest in digests


def still_right(job: Job, offers: Mapping[str, Sequence[ModelOffer]]) -> bool:
    """Whether a completed job's stems are, for certain, what would be made now.

    ``offers``: what each living separator says of a model, by name.  One that has its files and
    has not read them yet may have others than those that made the stems: its first look tells.
    Where nobody could make any, nothing speaks against what there is.
    """
    plan, result = job.plan, job.result
    if plan is None or result is None:
        return False
    if result.id != result_of(job):
        return False  # what the same parameters come to is written down differently by now
    if not still_offered(plan, offers):
        return False
    if job.options.model != AUTO or plan.model not in AUTO_CANDIDATES:
        return True
    better = AUTO_CANDIDATES[: AUTO_CANDIDATES.index(plan.model)]
    return not any(
        offer.ready and _makes(offer, job.options.stems)
        for name in better
        for offer in offers.get(name, ())
    )


def another_run(job_id: str, run: str) -> str:
    """Where a job computes from now on that has left ``run`` to another, or may have to do so.

    Each is used once: it is made of the one before.
    """
    return _hash("run", job_id, run)


def _makes(offer: ModelOffer, stems: Sequence[str]) -> bool:
    made = {*offer.sources, *((INSTRUMENTAL,) if VOCALS in offer.sources else ())}
    return set(stems) <= made


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=_KEY_BYTES).hexdigest()
