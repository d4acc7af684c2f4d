"""The parent's end of the children: starts them, limits them, listens to them."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from services.downloader.entries import Selection
from services.downloader.failures import Blame
from services.downloader.messages import (
    Decoded,
    DecodeReport,
    DecodeRequest,
    Decoding,
    ExpandReport,
    ExpandRequest,
    Fetched,
    Fetching,
    FetchReport,
    FetchRequest,
    Found,
    Missed,
    Read,
    Recognized,
    Rest,
)
from shared.child import Child, Limits
from shared.contracts.audio import FRAME_BYTES, SAMPLE_RATE
from shared.contracts.codec import Decoder as MessageDecoder
from shared.errors import Code, RetryableError, StembusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.downloader.config import DownloaderConfig

FETCH_MODULE: Final = "services.downloader.fetch"
EXPAND_MODULE: Final = "services.downloader.expand"
DECODE_MODULE: Final = "services.downloader.decode"


class Fetcher(Protocol):
    """Gets what is at a URL."""

    async def fetch(
        self,
        url: str,
        *,
        folder: Path,
        moving: Callable[[int, int | None, float | None], None],
    ) -> Fetched:
        """Download into ``folder``; ``moving`` hears of bytes, total bytes, bytes per second."""


class Expansion(NamedTuple):
    """What a playlist holds."""

    selection: Selection
    title: str | None


class Expander(Protocol):
    """Reads what a playlist holds."""

    async def expand(self, url: str, *, limit: int, folder: Path) -> Expansion:
        """The entries at ``url``, at most ``limit`` of them; nothing stays in ``folder``."""


class Decoder(Protocol):
    """Makes canonical PCM of a media file."""

    async def decode(
        self,
        source: Path,
        *,
        target: Path,
        cover: Path,
        moving: Callable[[float, float | None], None],
    ) -> Decoded:
        """Decode into ``target``; ``moving`` hears of seconds of sound, share of the file.

        A picture in the file's tags is put at ``cover``.
        """


class ChildFetcher:
    """A ``Fetcher`` that runs yt-dlp in a child process for each download."""

    def __init__(
        self,
        *,
        config: DownloaderConfig,
        on_line: Callable[[str], None],
        deno: str | None = None,
    ) -> None:
        """``deno``: path of the only other program that yt-dlp may start; see ``find_deno``."""
        self._config = config
        self._on_line = on_line
        self._deno = deno

    async def fetch(
        self,
        url: str,
        *,
        folder: Path,
        moving: Callable[[int, int | None, float | None], None],
    ) -> Fetched:
        """See ``Fetcher``.  ``source.stalled`` when nothing moved for too long."""
        config = self._config
        request = FetchRequest(
            url=url,
            allow_networks=config.allow_networks,
            max_bytes=config.max_source_bytes,
            max_seconds=config.max_track_seconds,
            socket_timeout=config.socket_timeout,
            deno=self._deno,
        )
        child: Child[FetchRequest, FetchReport] = await Child.start(
            FETCH_MODULE,
            reports=MessageDecoder(FetchReport),
            cwd=folder,
            on_line=self._on_line,
            limits=Limits(
                memory_bytes=config.fetch_memory_bytes, file_bytes=config.max_source_bytes
            ),
            environment=_environment(folder),
        )
        fetched: Fetched | None = None
        blame = Blame(url)
        async with child:
            with _answering(blame, config.fetch_silence_seconds):
                async for said in child.ask(request, silence=config.fetch_silence_seconds):
                    match said:
                        case Recognized():
                            blame.recognized(said.extractor)
                        case Fetching():
                            moving(said.received, said.total, said.speed)
                        case Fetched():
                            fetched = said
        if fetched is None:
            raise RetryableError(Code.WORKER_CRASHED, "the download ended without a word")
        return fetched


class ChildExpander:
    """An ``Expander`` that runs yt-dlp in a child process for each playlist."""

    def __init__(
        self,
        *,
        config: DownloaderConfig,
        on_line: Callable[[str], None],
        deno: str | None = None,
    ) -> None:
        """``deno``: as for ``ChildFetcher``."""
        self._config = config
        self._on_line = on_line
        self._deno = deno

    async def expand(self, url: str, *, limit: int, folder: Path) -> Expansion:
        """See ``Expander``.  ``source.stalled`` when it took too long, or nothing moved."""
        config = self._config
        request = ExpandRequest(
            url=url,
            limit=limit,
            allow_networks=config.allow_networks,
            max_seconds=config.max_track_seconds,
            socket_timeout=config.socket_timeout,
            deno=self._deno,
        )
        child: Child[ExpandRequest, ExpandReport] = await Child.start(
            EXPAND_MODULE,
            reports=MessageDecoder(ExpandReport),
            cwd=folder,
            on_line=self._on_line,
            limits=Limits(
                memory_bytes=config.fetch_memory_bytes, file_bytes=config.max_source_bytes
            ),
            environment=_environment(folder),
        )
        blame, selection = Blame(url), Selection(limit)
        read: Read | None = None
        async with child:
            with _answering(blame, config.fetch_silence_seconds):
                try:
                    async with asyncio.timeout(config.expand_seconds):
                        async for said in child.ask(request, silence=config.fetch_silence_seconds):
                            match said:
                                case Recognized():
                                    blame.recognized(said.extractor)
                                case Found():
                                    selection.found(said.url, said.title)
                                case Missed():
                                    selection.missed(said.entry, said.problem)
                                case Rest():
                                    selection.rest(said.count, said.problem)
                                case Read():
                                    read = said
                except TimeoutError as exc:
                    detail = f"not read within {config.expand_seconds:.0f} s"
                    raise RetryableError(Code.SOURCE_STALLED, detail) from exc
        if read is None:
            raise RetryableError(Code.WORKER_CRASHED, "the playlist ended without a word")
        return Expansion(selection, read.title)


@contextmanager
def _answering(blame: Blame, silence: float) -> Iterator[None]:
    """Name the site in what it has answered; a child that says nothing waits for the site."""
    try:
        try:
            yield
        except StembusError as exc:
            if exc.code is not Code.WORKER_TIMED_OUT:
                raise
            raise RetryableError(Code.SOURCE_STALLED, f"nothing moved for {silence:.0f} s") from exc
    except StembusError as exc:
        blame.put_on(exc)
        raise


def _environment(folder: Path) -> dict[str, str]:
    # Deno keeps what it compiles there, and must not keep it anywhere else.
    return {"HOME": str(folder), "DENO_DIR": str(folder / "deno")}


class ChildDecoder:
    """A ``Decoder`` that runs FFmpeg's libraries in a child process for each file."""

    def __init__(self, *, config: DownloaderConfig, on_line: Callable[[str], None]) -> None:
        self._config = config
        self._on_line = on_line

    async def decode(
        self,
        source: Path,
        *,
        target: Path,
        cover: Path,
        moving: Callable[[float, float | None], None],
    ) -> Decoded:
        """See ``Decoder``."""
        config = self._config
        # A second more: the child is to notice by itself, and to say so.
        file_bytes = int((config.max_track_seconds + 1) * SAMPLE_RATE * FRAME_BYTES) + (1 << 20)
        child: Child[DecodeRequest, DecodeReport] = await Child.start(
            DECODE_MODULE,
            reports=MessageDecoder(DecodeReport),
            cwd=target.parent,
            on_line=self._on_line,
            limits=Limits(memory_bytes=config.decode_memory_bytes, file_bytes=file_bytes),
        )
        request = DecodeRequest(
            source=str(source),
            target=str(target),
            cover=str(cover),
            max_seconds=config.max_track_seconds,
        )
        decoded: Decoded | None = None
        async with child:
            async for said in child.ask(request, silence=config.decode_silence_seconds):
                match said:
                    case Decoding():
                        moving(said.seconds, said.fraction)
                    case Decoded():
                        decoded = said
        if decoded is None:
            raise RetryableError(Code.WORKER_CRASHED, "the decoder ended without a word")
        return decoded


def find_deno() -> str | None:
    """The deno executable beside this Python or on the PATH, if there is one.

    YouTube's player is a puzzle in JavaScript; yt-dlp runs it in deno, whose scripts have no
    access to files or to the network.
    """
    beside = shutil.which("deno", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("deno")
    return str(Path(found).resolve()) if found else None
