"""The blob store of the model: which tracks, chunks and results there are, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.contracts.audio import Result, Track
from shared.contracts.work import FinalizeWork, PrepareWork, RemoveWork, SeparateWork, SweepWork
from shared.separation.identity import result_id
from tests.support import jobs

if TYPE_CHECKING:
    from datetime import datetime

    from shared.contracts.request import Source
    from shared.contracts.work import Work
    from tests.support.realm import Clock

#: A chunk: whose run, which attempt, which one.
Chunk = tuple[str, int, int]


def track_of(work: Work) -> str | None:
    """The track that work is done on."""
    return work.track.id if isinstance(work, (PrepareWork, SeparateWork, FinalizeWork)) else None


class Files:
    """What workers store, find and remove."""

    def __init__(
        self, clock: Clock, chunks: tuple[int, ...], *, mirrors: bool, changing: bool
    ) -> None:
        self._clock = clock
        self._cuts: Final = chunks
        #: Whether all hosts have the same songs.
        self._mirrors: Final = mirrors
        #: Whether a site may have another song by the time something was lost.
        self._changing: Final = changing
        self.losses = 0
        #: From which track a chunk was computed.
        self.heard: dict[Chunk, str] = {}
        self.chunks: dict[Chunk, datetime] = {}
        self.tracks: dict[str, datetime] = {}
        self.results: dict[str, datetime] = {}

    def cut(self, track: str) -> int:
        """Into how many chunks a track is cut."""
        return self._cuts[sum(track.encode()) % len(self._cuts)]

    def fetch(self, source: Source) -> Track:
        """Download a song; the same one is the same track, as long as its site does not change."""
        address = source.url or ""
        song = address.rpartition("/")[2] if self._mirrors else address
        edition = self.losses // 2 % 2 if self._changing else 0
        track = "t" * (1 + edition) + "".join(filter(str.isalnum, song))
        self.tracks[track] = self._clock.now
        return Track(id=track, frames=jobs.track(self.cut(track)).frames, mean=0.0, std=0.5)

    def separate(self, work: SeparateWork) -> None:
        """Store a chunk."""
        self.chunks[work.run, work.attempt, work.chunk] = self._clock.now
        self.heard[work.run, work.attempt, work.chunk] = work.track.id

    def finalize(self, work: FinalizeWork) -> Result:
        """Store the stems."""
        result = result_id(work.track, work.plan, work.format, work.metadata)
        self.results[result] = self.tracks[work.track.id] = self._clock.now
        return Result(
            id=result,
            model=work.plan.model,
            digest=work.plan.digest,
            format=work.format,
            frames=work.plan.frames,
            stems=jobs.result().stems,
        )

    def mixed(self, work: FinalizeWork) -> list[str]:
        """Other tracks than its own that its chunks were computed from."""
        parts = ((work.run, attempt, n) for n, attempt in enumerate(work.attempts))
        return sorted({self.heard.get(part, work.track.id) for part in parts} - {work.track.id})

    def missing(self, work: Work) -> list[object]:
        """What ``work`` needs and is not there."""
        needed: list[tuple[object, bool]] = []
        if (track := track_of(work)) is not None:
            needed.append((track, track in self.tracks))
        if isinstance(work, FinalizeWork):
            parts = [(work.run, attempt, n) for n, attempt in enumerate(work.attempts)]
            needed += [(part, part in self.chunks) for part in parts]
        return [what for what, there in needed if not there]

    def tidy(self, work: SweepWork | RemoveWork) -> None:
        """Remove what is asked to be removed."""
        run = work.run or work.job_id
        if isinstance(work, SweepWork):
            for chunk in [one for one in self.chunks if one[0] == run and one[1] <= work.attempt]:
                del self.chunks[chunk]
            return
        those = {chunk: at for chunk, at in self.chunks.items() if chunk[0] == run}
        if all(at < work.before for at in those.values()):
            for chunk in those:
                del self.chunks[chunk]
        for there, name in ((self.results, work.result), (self.tracks, work.track)):
            if name in there and there[name] < work.before:
                del there[name]
