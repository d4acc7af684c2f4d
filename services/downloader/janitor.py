"""Removes what nobody will ask for any more, once whenever it is told to.

Several janitors may do so at the same time: each finds what the others have left.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from services.downloader.orphans import RESULTS, TRACKS, UPLOADS, WORK, Candidates, ages
from shared.blobs import (
    result_prefix,
    sweep_unfinished,
    track_prefix,
    track_record_key,
    upload_key,
    upload_note_key,
    work_prefix,
)
from shared.contracts.codec import UndecodableError
from shared.scratch import FORGOTTEN_SECONDS, sweep_scratch

if TYPE_CHECKING:
    from pathlib import Path

    from services.downloader.orphans import Records
    from shared.blobs import BlobStore


class Removed(Struct, frozen=True, kw_only=True):
    """How much went."""

    uploads: int = 0
    tracks: int = 0
    results: int = 0
    #: Jobs whose unfinished work was left.
    work: int = 0
    #: Scratch folders, and files that were being written, of processes that were killed.
    scratch: int = 0
    unfinished: int = 0
    #: Why nothing else was looked at.
    reason: str = ""


class Janitor:
    """Sweeps uploads, orphaned blobs, and what killed processes have left."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        blobs_url: str,
        records: Records,
        scratch_dir: Path,
        upload_seconds: float,
        orphan_seconds: float,
    ) -> None:
        self._blobs = blobs
        self._blobs_url = blobs_url
        self._records = records
        self._scratch_dir = scratch_dir
        self._upload_seconds = upload_seconds
        self._orphan_seconds = orphan_seconds

    async def run_once(self, now: datetime) -> Removed:
        """One round; ``now`` has a time zone."""
        before = now - timedelta(seconds=FORGOTTEN_SECONDS)
        scratch = await asyncio.to_thread(sweep_scratch, self._scratch_dir, before)
        unfinished = await asyncio.to_thread(sweep_unfinished, self._blobs_url, before)
        old = ages(now, uploads=self._upload_seconds, orphans=self._orphan_seconds)
        candidates = Candidates(old)
        await candidates.collect(self._blobs)
        try:
            await candidates.spare(self._records)
        except (ConnectionError, UndecodableError) as exc:
            # What can't be read may name anything.
            reason = f"the records can't be read: {exc}"
            return Removed(scratch=scratch, unfinished=unfinished, reason=reason)
        uploads = [
            upload for upload in candidates.of(UPLOADS) if await self._upload(upload, old.uploads)
        ]
        tracks = results = work = 0
        # No record at all is no proof: this may be another broker than the files' own.
        if old.orphans is not None and candidates.records:
            for track in candidates.of(TRACKS):
                first = track_record_key(track)
                tracks += await self._gone(track_prefix(track), old.orphans, first)
            for result in candidates.of(RESULTS):
                results += await self._gone(result_prefix(result), old.orphans)
            for job in candidates.of(WORK):
                work += await self._gone(work_prefix(job), old.orphans)
        return Removed(
            uploads=len(uploads),
            tracks=tracks,
            results=results,
            work=work,
            scratch=scratch,
            unfinished=unfinished,
        )

    async def _upload(self, upload: str, before: datetime) -> bool:
        """Remove one upload, unless it has been touched meanwhile."""
        keys = [upload_key(upload), upload_note_key(upload)]
        found = [info for key in keys if (info := await self._blobs.info(key)) is not None]
        if any(info.modified >= before for info in found):
            return False
        await self._blobs.delete([info.key for info in found])
        return bool(found)

    async def _gone(self, prefix: str, before: datetime, first: str = "") -> bool:
        return await self._blobs.delete_untouched(prefix, before, first=first) > 0
