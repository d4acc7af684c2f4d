"""Where the downloader's objects meet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from services.downloader.actor import Downloader
from services.downloader.children import (
    ChildDecoder,
    ChildExpander,
    ChildFetcher,
    find_deno,
)
from services.downloader.janitor import Janitor
from services.downloader.room import RoomWatch
from shared.blobs import BlobStore, free_bytes, free_bytes_of, open_store
from shared.contracts.work import DownloadWork, ExpandWork, Stage
from shared.crew import hire
from shared.errors import StembusError
from shared.jetstream.store import JobStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from structlog.typing import FilteringBoundLogger

    from services.downloader.config import DownloaderConfig
    from shared.service import Part, Resources

#: Seconds between two rounds of the janitor.
ROUND_SECONDS: Final = 3600.0


class Rounds:
    """The janitor's rounds, as a part."""

    def __init__(self, janitor: Janitor, log: FilteringBoundLogger) -> None:
        self._janitor = janitor
        self._log = log

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Part``."""
        while not stopping.is_set():
            try:
                removed = await self._janitor.run_once(datetime.now(UTC))
                self._log.info("the janitor was there", **msgspec.structs.asdict(removed))
            except (StembusError, OSError) as exc:
                self._log.warning("the janitor failed", reason=str(exc))
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), ROUND_SECONDS)


async def assemble(
    config: DownloaderConfig, resources: Resources, stack: AsyncExitStack
) -> Sequence[Part]:
    """The downloader's parts."""
    log = resources.log
    scratch = Path(config.scratch_dir)
    scratch.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing is served yet
    blobs = BlobStore(open_store(config.blobs_url))

    def on_line(line: str) -> None:
        log.info("child says", line=line)

    deno = find_deno()
    downloader = Downloader(
        blobs=blobs,
        fetcher=ChildFetcher(config=config, on_line=on_line, deno=deno),
        expander=ChildExpander(config=config, on_line=on_line, deno=deno),
        decoder=ChildDecoder(config=config, on_line=on_line),
        scratch_dir=scratch,
        max_source_bytes=config.max_source_bytes,
    )
    janitor = Janitor(
        blobs=blobs,
        blobs_url=config.blobs_url,
        records=JobStore(resources.nc),
        scratch_dir=scratch,
        upload_seconds=config.upload_keep_seconds,
        orphan_seconds=config.orphan_seconds,
    )
    room = RoomWatch(partial(free, config), least=config.min_free_bytes, log=log)
    await room.look()
    crew = await hire(
        resources,
        stack,
        stage=Stage.DOWNLOAD,
        kind=DownloadWork | ExpandWork,
        performer=downloader,
        slots=config.download_slots,
        grace=config.grace_seconds,
        ailment=room.ailment,
    )
    return [*crew, room, Rounds(janitor, log)]


def free(config: DownloaderConfig) -> int | None:
    """The least room of those where a song takes some: the scratch folder, a local blob store."""
    rooms = (free_bytes_of(Path(config.scratch_dir)), free_bytes(config.blobs_url))
    return min((room for room in rooms if room is not None), default=None)
