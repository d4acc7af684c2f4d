"""One song: what a URL means is downloaded into one file, nothing else.  Runs in a child."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.downloader.core import detail_of, metadata_of
from services.downloader.messages import SITE_COVER, Fetched, Fetching, Recognized
from services.downloader.thumbnail import keep_thumbnail
from services.downloader.ytdlp import HOPS, BoundedYoutubeDL, options, speaking_our_codes
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.downloader.guard import Guard
    from services.downloader.messages import FetchReport, FetchRequest

#: Seconds between two reports.
_PACE: Final = 0.1
#: Protocols that yt-dlp can download by itself, without another program.
_PROTOCOLS: Final = "[protocol~='^(https?|m3u8(_native)?|http_dash_segments)$']"
_FORMAT: Final = "/".join(kind + _PROTOCOLS for kind in ("bestaudio", "best", "bestaudio*"))


class SongFetch:
    """One download into the current folder."""

    def __init__(
        self, *, request: FetchRequest, guard: Guard, report: Callable[[FetchReport], None]
    ) -> None:
        self._request = request
        self._guard = guard
        self._report = report
        self._last = Fetching()
        self._reported = 0.0

    def run(self) -> None:
        """Download it; ends with a ``Fetched`` report or a ``StembusError``."""
        with (
            speaking_our_codes(self._guard),
            BoundedYoutubeDL(self._options(), taken=self._taken) as ydl,
        ):
            info = self._resolve(ydl)
            self._check(info)
            ydl.process_info(info)
            keep_thumbnail(ydl, info, Path.cwd() / SITE_COVER)
        found = sorted(path for path in Path.cwd().glob("source.*") if path.suffix != ".part")
        if not found:
            raise RetryableError(Code.SOURCE_UNREACHABLE, "the download left no file")
        self._report(Fetched(name=found[0].name, metadata=metadata_of(info)))

    def _options(self) -> dict[str, Any]:
        request = self._request
        common = options(
            alive=self._alive, socket_timeout=request.socket_timeout, deno=request.deno
        )
        return common | {
            "format": _FORMAT,
            "outtmpl": {"default": "source.%(ext)s"},
            "progress_hooks": [self._on_progress],
            # One item: a video inside a playlist is that video, and of a list the first two
            # entries say that there are several; they are not looked at.
            "noplaylist": True,
            "playlist_items": "1:2",
            "extract_flat": "in_playlist",
            "fragment_retries": 2,
            # A gap in a song is not a song.
            "skip_unavailable_fragments": False,
            "concurrent_fragment_downloads": 1,
            "updatetime": False,
        }

    def _taken(self, extractor: str) -> None:
        self._report(Recognized(extractor=extractor))

    def _resolve(self, ydl: BoundedYoutubeDL) -> dict[str, Any]:
        """The one item that the URL means, its format chosen."""
        info = ydl.extract_info(self._request.url, download=False)
        for _ in range(HOPS):
            if not info:
                raise TerminalError(Code.SOURCE_NO_MEDIA)
            if info.get("_type", "video") == "video":
                return dict(info)
            if "entries" in info:
                entries = [entry for entry in info["entries"] if entry]
                if len(entries) > 1 or (info.get("playlist_count") or 0) > 1:
                    raise TerminalError(Code.SOURCE_PLAYLIST, detail_of(str(info.get("title"))))
                info = entries[0] if entries else None
            else:
                info = ydl.process_ie_result(info, download=False)
        raise TerminalError(Code.SOURCE_NO_MEDIA, "a page that only leads to other pages")

    def _check(self, info: dict[str, Any]) -> None:
        if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming"}:
            raise TerminalError(Code.SOURCE_LIVE)
        seconds = metadata_of(info).duration or 0.0
        if seconds > self._request.max_seconds:
            raise TerminalError(Code.SOURCE_TOO_LONG, f"{seconds:.0f} s")
        self._check_size(info.get("filesize") or 0)

    def _check_size(self, size: float) -> None:
        if size > self._request.max_bytes:
            detail = f"more than {self._request.max_bytes} bytes"
            raise TerminalError(Code.SOURCE_TOO_LARGE, detail)

    def _on_progress(self, status: dict[str, Any]) -> None:
        """yt-dlp's hook; the numbers of a fragmented download are those of the whole."""
        received = int(status.get("downloaded_bytes") or 0)
        self._check_size(max(received, status.get("total_bytes") or 0))
        total = status.get("total_bytes") or status.get("total_bytes_estimate")
        speed = status.get("speed")
        self._last = Fetching(
            received=received,
            # An estimate may lag behind; what has arrived is certain.
            total=max(int(total), received) if total else None,
            speed=float(speed) if speed else None,
        )
        self._alive(now_or_never=status.get("status") == "finished")

    def _alive(self, *, now_or_never: bool = False) -> None:
        now = time.monotonic()
        if now_or_never or now - self._reported >= _PACE:
            self._reported = now
            self._report(self._last)
