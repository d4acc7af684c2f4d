"""Where the downloader's objects meet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.downloader.actor import Downloader
from services.downloader.children import ChildDecoder, ChildFetcher, find_deno
from services.downloader.janitor import Janitor
from shared.blobs import BlobStore, open_store
from shared.contracts.work import DownloadWork, Stage
from shared.crew import hire
from shared.errors import StembusError

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
                self._log.info("old uploads removed", blobs=removed)
            except StembusError as exc:
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

    downloader = Downloader(
        blobs=blobs,
        fetcher=ChildFetcher(config=config, on_line=on_line, deno=find_deno()),
        decoder=ChildDecoder(config=config, on_line=on_line),
        scratch_dir=scratch,
        max_source_bytes=config.max_source_bytes,
    )
    janitor = Janitor(blobs=blobs, scratch_dir=scratch, keep_seconds=config.upload_keep_seconds)
    crew = await hire(
        resources,
        stack,
        stage=Stage.DOWNLOAD,
        kind=DownloadWork,
        performer=downloader,
        slots=config.download_slots,
        grace=config.grace_seconds,
    )
    return [*crew, Rounds(janitor, log)]
