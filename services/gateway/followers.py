"""Jobs that get what comes of another one: they are shown how far that one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from shared.contracts.job import Status

if TYPE_CHECKING:
    from shared.contracts.snapshot import Snapshot

#: Followers of one job that are told live how far it is; all of them see it when they ask.
TOLD_LIVE: Final = 50
#: Most progress of one that gets what has come of another, but does not have it yet.
ALMOST: Final = 99.9


class Followers:
    """Who follows whom, as far as records have told."""

    def __init__(self) -> None:
        self._leaders: dict[str, str] = {}
        self._followers: dict[str, dict[str, None]] = {}

    def note(self, job_id: str, leader: str | None) -> None:
        """A job follows this one now, or nobody."""
        before = self._leaders.get(job_id)
        if before == leader:
            return
        if before is not None:
            del self._leaders[job_id]
            others = self._followers[before]
            del others[job_id]
            if not others:
                del self._followers[before]
        if leader is not None:
            self._leaders[job_id] = leader
            self._followers.setdefault(leader, {})[job_id] = None

    def of(self, leader: str) -> list[str]:
        """The first ``TOLD_LIVE`` that follow a job, who came first first."""
        return list(self._followers.get(leader, ()))[:TOLD_LIVE]

    def clear(self) -> None:
        """Forget everything."""
        self._leaders.clear()
        self._followers.clear()


def as_its_leader(seen: Snapshot, leader: Snapshot) -> Snapshot:
    """A follower's snapshot with what its leader has come to, which is all that it waits for."""
    waits = seen.status is Status.PENDING and not seen.held
    if not waits or seen.follows != leader.id or leader.follows is not None:
        return seen
    # One that has ended is followed for a moment yet: until the follower's own record says more.
    return replace(
        seen,
        phase=leader.phase,
        progress=max(seen.progress, min(leader.progress, ALMOST)),
        position=leader.position,
        starts_at=leader.starts_at,
        eta=leader.eta,
        waits_for=leader.waits_for,
        metadata=leader.metadata or seen.metadata,
        seconds=leader.seconds,
        original=leader.original,
        separation=leader.separation,
    )
