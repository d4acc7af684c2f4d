"""Scratch folders: files in the making, one folder for each piece of work, gone when it is.

A killed process can't clean up after itself.  So whoever looks into the same folder later,
whichever service it is, removes what is old.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.typing import FilteringBoundLogger

#: What the names of scratch folders begin with.
DOWNLOADS: Final = "download-"
ENCODES: Final = "encode-"
#: Nothing living leaves its folder alone for as long as this.
FORGOTTEN_SECONDS: Final = 24 * 3600.0
#: Seconds between two sweeps.
_ROUND_SECONDS: Final = 3600.0


@asynccontextmanager
async def scratch_folder(parent: Path, prefix: str) -> AsyncIterator[Path]:
    """A folder of one's own, removed whatever happens.  Gigabytes take a while: in a thread."""
    folder = await asyncio.to_thread(_new_folder, parent, prefix)
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _new_folder(parent: Path, prefix: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()


def sweep_scratch(parent: Path, before: datetime) -> int:
    """Remove the scratch folders in which nothing has changed since; how many they were."""
    removed = 0
    for prefix in (DOWNLOADS, ENCODES):
        for folder in parent.glob(f"{prefix}*"):
            with suppress(OSError):  # somebody else was quicker
                if _newest(folder) < before.timestamp():
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
    return removed


def _newest(folder: Path) -> float:
    """When something in it was last written: a folder's own time tells only of new names."""
    inside = (path.lstat().st_mtime for path in folder.iterdir())
    return max((folder.lstat().st_mtime, *inside))


class ScratchSweeper:
    """Sweeps at the start and every hour, as a part."""

    def __init__(self, parent: Path, log: FilteringBoundLogger) -> None:
        self._parent = parent
        self._log = log

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        while not stopping.is_set():
            before = datetime.now(UTC) - timedelta(seconds=FORGOTTEN_SECONDS)
            if removed := await asyncio.to_thread(sweep_scratch, self._parent, before):
                self._log.info("forgotten scratch folders removed", folders=removed)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _ROUND_SECONDS)
