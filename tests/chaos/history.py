"""One job's life as its records told it, and what must never be in it.  Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
#: How a job begins, and begins again when a client retries it.
WAITING: Final = frozenset({"pending", "scheduled"})
#: Lines over which a timeline drops some from its middle: it proves nothing then.
TIMELINE_LIMIT: Final = 40


class Moment(Struct, frozen=True):
    """One line of a job's timeline."""

    status: str
    note: str = ""


class Problem(Struct, frozen=True):
    """Why a job failed."""

    code: str
    detail: str = ""


class Record(Struct, frozen=True):
    """What is judged of a job's record; the rest of it is not our business."""

    id: str
    status: str
    progress: float = 0.0
    error: Problem | None = None
    timeline: tuple[Moment, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing but a retry can change it."""
        return self.status in TERMINAL


class Seen(Struct, frozen=True):
    """A record, its revision, and the revision that it replaced (0: none)."""

    revision: int
    previous: int
    record: Record


def whole(heard: Sequence[Seen], newest: Seen) -> tuple[Seen, ...]:
    """A life as it was heard, with the record that lies there now if that was not heard."""
    known = bool(heard) and (heard[-1].revision, heard[-1].record) == (
        newest.revision,
        newest.record,
    )
    return tuple(heard) if known else (*heard, newest)


def missed(seen: Sequence[Seen]) -> int:
    """How often a record came that does not follow on the one before: some were not seen."""
    return sum(1 for one, next_one in pairwise(seen) if next_one.previous != one.revision)


def retries(record: Record) -> int:
    """How often the job was taken up again after it had ended."""
    return sum(
        1
        for one, next_one in pairwise(record.timeline)
        if one.status in TERMINAL and next_one.status in WAITING
    )


def violations(seen: Sequence[Seen]) -> list[str]:
    """What is wrong with a job's life, given its records in the order in which they came."""
    if not seen:
        return ["nobody has seen a record of it"]
    return [*_of_pairs(seen), *_of_timeline(seen[-1].record)]


def _of_pairs(seen: Sequence[Seen]) -> Iterator[str]:
    for one, next_one in pairwise(seen):
        at = f"revision {next_one.revision} after {one.revision}"
        before, after = one.record, next_one.record
        if next_one.revision <= one.revision:
            yield f"{at}: revisions do not increase"
        if after.progress < before.progress:
            yield f"{at}: progress from {before.progress:g} back to {after.progress:g}"
        if next_one.previous == one.revision and not _may_follow(before.status, after.status):
            yield f"{at}: {before.status}, then {after.status}"


def _may_follow(before: str, after: str) -> bool:
    """Out of an end there is one way, a retry, and out of ``completed`` none."""
    if before not in TERMINAL:
        return True
    return after == before or (before != "completed" and after in WAITING)


def _of_timeline(record: Record) -> Iterator[str]:
    """Exactly one terminal line in each run, the last one included."""
    if len(record.timeline) >= TIMELINE_LIMIT:
        return
    ended = ""
    for moment in record.timeline:
        if ended and moment.status in TERMINAL:
            yield f"the timeline says {ended}, then {moment.status}"
        elif ended and moment.status not in WAITING:
            yield f"the timeline says {ended}, then {moment.status}, without a retry"
        ended = moment.status if moment.status in TERMINAL else ""
    if ended != record.status:
        yield f"it is {record.status}, and its timeline ends with {ended or 'no end'}"
