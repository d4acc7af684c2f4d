"""Removes what nobody will ask for any more: old uploads, and scratch folders of the dead."""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.downloader.actor import SCRATCH_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from shared.blobs import BlobStore

_UPLOADS: Final = "uploads"


class Janitor:
    """Sweeps once whenever it is told to; several downloaders may do so at the same time."""

    def __init__(self, *, blobs: BlobStore, scratch_dir: Path, keep_seconds: float) -> None:
        self._blobs = blobs
        self._scratch_dir = scratch_dir
        self._keep = timedelta(seconds=keep_seconds)

    async def run_once(self, now: datetime) -> int:
        """Remove uploads and scratch folders older than ``keep_seconds``; how many blobs went.

        ``now`` has a time zone.
        """
        before = now - self._keep
        old = [info.key async for info in self._blobs.under(_UPLOADS) if info.modified < before]
        await self._blobs.delete(old)
        await asyncio.to_thread(self._sweep, before)
        return len(old)

    def _sweep(self, before: datetime) -> None:
        """A killed process can't clean up after itself; no living one takes as long as a day."""
        for folder in self._scratch_dir.glob(f"{SCRATCH_PREFIX}*"):
            try:
                modified = datetime.fromtimestamp(folder.stat().st_mtime, before.tzinfo)
            except FileNotFoundError:
                continue
            if modified < before:
                shutil.rmtree(folder, ignore_errors=True)
