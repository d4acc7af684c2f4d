"""The finalizer: works in, facts out; a child of its own encodes each song."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.separator.children import answer
from services.separator.messages import ENCODE_ANSWER, EncodeStems, StemsEncoded, TrackLost
from shared.blobs import (
    chunk_key,
    result_prefix,
    track_audio_key,
    track_prefix,
    track_record_key,
    work_prefix,
)
from shared.contracts.facts import Fact, Failed, Finalized
from shared.contracts.work import FinalizeWork, RemoveWork, Stage, SweepWork
from shared.scratch import ENCODES, scratch_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from services.separator.children import Helper
    from shared.actor.worker import Report
    from shared.blobs import BlobInfo


class Blobs(Protocol):
    """What of the blob store the finalizer itself uses."""

    def under(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob under ``prefix``."""

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs."""

    async def delete_untouched(self, prefix: str, before: datetime, *, first: str = "") -> int:
        """Remove all under ``prefix``, ``first`` first; nothing if any was touched since."""


class Finalizer:
    """Takes ``FinalizeWork``, ``SweepWork`` and ``RemoveWork``."""

    def __init__(
        self,
        *,
        start: Callable[[Path], Awaitable[Helper]],
        blobs: Blobs,
        scratch: Path,
        silence: float,
        clock: Callable[[], float],
    ) -> None:
        self._start = start
        self._blobs = blobs
        self._scratch = scratch
        self._silence = silence
        self._clock = clock

    async def perform(
        self, work: FinalizeWork | SweepWork | RemoveWork, report: Report
    ) -> Fact | None:
        """Encode the stems in a child of its own, or remove what a job has left."""
        match work:
            case SweepWork():
                await self._sweep(work)
                return None
            case RemoveWork():
                await self._remove(work)
                return None
            case FinalizeWork():
                return await self._finalize(work, report)

    async def _sweep(self, work: SweepWork) -> None:
        """Up to the attempt it names: a job that was retried since computes in later ones."""
        prefix = work_prefix(work.run or work.job_id)
        keys = [info.key async for info in self._blobs.under(prefix)]
        old = (key for key in keys if _attempt_of(key, prefix) <= work.attempt)
        await self._blobs.delete(list(old))

    async def _remove(self, work: RemoveWork) -> None:
        # The same id may have been submitted anew: what that job computes is younger.
        # A job that has left its run to another must not take that folder away.
        await self._blobs.delete_untouched(work_prefix(work.run or work.job_id), work.before)
        if work.result is not None:
            await self._blobs.delete_untouched(result_prefix(work.result), work.before)
        if work.track is not None:
            prefix, record = track_prefix(work.track), track_record_key(work.track)
            await self._blobs.delete_untouched(prefix, work.before, first=record)

    async def _finalize(self, work: FinalizeWork, report: Report) -> Fact:
        started = self._clock()
        order = EncodeStems(
            track=work.track,
            plan=work.plan,
            chunk_keys=tuple(
                chunk_key(work.run, attempt, chunk) for chunk, attempt in enumerate(work.attempts)
            ),
            format=work.format,
            metadata=work.metadata,
        )
        async with scratch_folder(self._scratch, ENCODES) as folder:
            child = await self._start(folder)
            try:
                encoded = await answer(child, order, ENCODE_ANSWER, report, self._silence)
            finally:
                await child.kill()
        if isinstance(encoded, StemsEncoded):
            return Finalized(
                job_id=work.job_id,
                stage=Stage.FINALIZE,
                unit=work.unit,
                attempt=work.attempt,
                elapsed=self._clock() - started,
                result=encoded.result,
            )
        track_lost = isinstance(encoded, TrackLost)
        if track_lost:
            # Whoever fetches it anew would find it whole; the record says so, and goes first.
            name = work.track.id
            await self._blobs.delete([track_record_key(name), track_audio_key(name)])
        return Failed(
            job_id=work.job_id,
            stage=Stage.FINALIZE,
            unit=work.unit,
            attempt=work.attempt,
            elapsed=self._clock() - started,
            problem=encoded.problem,
            lost=() if isinstance(encoded, TrackLost) else encoded.chunks,
            track_lost=track_lost,
        )


def _attempt_of(key: str, prefix: str) -> int:
    """The attempt that a temporary blob is of; what is none of ours goes with the first."""
    attempt = key.removeprefix(prefix).partition("/")[0]
    return int(attempt) if attempt.isdecimal() else 0
