"""Which unfinished jobs have to do with one another: the same wish, source, result or leader."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.scheduler.wishes import Aim, aim_of, parted, source_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shared.contracts.job import Job


class _Keys(NamedTuple):
    """Under which keys a job is known."""

    aim: Aim
    #: Only where it has the track.
    source: str | None
    leader: str | None


class Relations:
    """Ids of unfinished jobs; each question costs no more than its answer is long."""

    def __init__(self) -> None:
        self._keys: dict[str, _Keys] = {}
        self._by_wish: dict[str, set[str]] = {}
        self._by_source: dict[str, set[str]] = {}
        self._by_result: dict[str, set[str]] = {}
        self._followers: dict[str, set[str]] = {}
        #: Those of them that are planned: by whatever they have followed.
        self._planned: dict[str, set[str]] = {}

    def put(self, job: Job) -> None:
        """Take in a job that is not known."""
        source = source_key(job.source) if job.track is not None else None
        keys = _Keys(aim_of(job), source, job.follows)
        self._keys[job.id] = keys
        for ids, key in self._places(keys):
            ids.setdefault(key, set()).add(job.id)

    def drop(self, job_id: str) -> None:
        """Forget one, if it is known."""
        keys = self._keys.pop(job_id, None)
        if keys is None:
            return
        for ids, key in self._places(keys):
            ids[key].discard(job_id)
            if not ids[key]:
                del ids[key]

    def with_wish(self, wish: str) -> Collection[str]:
        """Jobs that ask for the same."""
        return self._by_wish.get(wish, ())

    def with_track(self, source: str) -> Collection[str]:
        """Jobs that have the track of a source."""
        return self._by_source.get(source, ())

    def with_result(self, result: str) -> Collection[str]:
        """Jobs that come to a result."""
        return self._by_result.get(result, ())

    def followers(self, job_id: str) -> Collection[str]:
        """Jobs that follow one."""
        return self._followers.get(job_id, ())

    def astray(self, leader: str) -> list[str]:
        """Those who follow one that has come to something else than they."""
        known = self._keys.get(leader)
        if known is None:
            return []
        return sorted(
            one for one in self._planned.get(leader, ()) if parted(self._keys[one].aim, known.aim)
        )

    def leaders(self) -> Iterator[str]:
        """Jobs that are followed, whatever has become of them."""
        return iter(self._followers)

    def _places(self, keys: _Keys) -> Iterator[tuple[dict[str, set[str]], str]]:
        yield self._by_wish, keys.aim.wish
        if keys.source is not None:
            yield self._by_source, keys.source
        if keys.aim.result is not None:
            yield self._by_result, keys.aim.result
        if keys.leader is not None:
            yield self._followers, keys.leader
            if keys.aim.result is not None:
                yield self._planned, keys.leader
