"""yt-dlp as it is used here: one source into one file, nothing else.  Runs in ``fetch``'s child."""

from __future__ import annotations

import errno
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
    YoutubeDLError,
)

from services.downloader.core import detail_of, metadata_of, seconds_to_wait
from services.downloader.failures import Kind, of_kind, of_status
from services.downloader.messages import Fetched, Fetching
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.downloader.guard import Guard
    from services.downloader.messages import FetchReport, FetchRequest

#: Seconds between two reports.
_PACE: Final = 0.1
#: Largest page or playlist that is read into memory; YouTube's pages are about 2 MB.
_PAGE_BYTES: Final = 32 << 20
#: A page that points to a page that points to … is followed this far.
_HOPS: Final = 4
#: Protocols that yt-dlp can download by itself, without another program.
_PROTOCOLS: Final = "[protocol~='^(https?|m3u8(_native)?|http_dash_segments)$']"
_FORMAT: Final = "/".join(kind + _PROTOCOLS for kind in ("bestaudio", "best", "bestaudio*"))


class _Logger:
    """Takes what yt-dlp says: prints it for the parent's log, and counts as a sign of life."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive

    def debug(self, message: str) -> None:
        self._alive()
        if not message.startswith("[debug] "):
            print(message)  # noqa: T201 - the parent logs what the child prints

    info = warning = error = debug


class _BoundedYoutubeDL(YoutubeDL):  # type: ignore[misc] # yt-dlp ships no types
    """Reads at most ``_PAGE_BYTES`` of a page, however long it is."""

    def urlopen(self, req: Any) -> Any:  # noqa: ANN401 - yt-dlp's own types
        response = super().urlopen(req)
        read = response.read

        def bounded(amount: int | None = None) -> bytes:
            if amount is not None:
                return bytes(read(amount))
            page = bytearray()
            while piece := read(1 << 16):
                page += piece
                if len(page) > _PAGE_BYTES:
                    raise TerminalError(Code.SOURCE_TOO_LARGE, "a page without an end")
            return bytes(page)

        response.read = bounded
        return response


class Fetch:
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
        try:
            with _BoundedYoutubeDL(self._options()) as ydl:
                info = self._resolve(ydl)
                self._check(info)
                ydl.process_info(info)
        except StembusError:
            raise
        except YoutubeDLError as exc:
            if self._guard.refused is not None:
                # Somewhere inside it was taken for a bad connection.
                raise TerminalError(Code.SOURCE_FORBIDDEN_ADDRESS, self._guard.refused) from exc
            raise _translated(exc) from exc
        found = sorted(path for path in Path.cwd().glob("source.*") if path.suffix != ".part")
        if not found:
            raise RetryableError(Code.SOURCE_UNREACHABLE, "the download left no file")
        self._report(Fetched(name=found[0].name, metadata=metadata_of(info)))

    def _options(self) -> dict[str, Any]:
        request = self._request
        return {
            "format": _FORMAT,
            "outtmpl": {"default": "source.%(ext)s"},
            "paths": {"home": str(Path.cwd())},
            "logger": _Logger(self._alive),
            "progress_hooks": [self._on_progress],
            "noprogress": True,
            "color": "never",
            # One item: a video inside a playlist is that video, and of a list the first two
            # entries say that there are several; they are not looked at.
            "noplaylist": True,
            "playlist_items": "1:2",
            "extract_flat": "in_playlist",
            # No other programs: nothing is merged, converted or repaired here.
            "fixup": "never",
            "postprocessors": [],
            "ffmpeg_location": str(Path.cwd() / "no-ffmpeg"),
            "external_downloader": {"default": "native", "m3u8": "native", "dash": "native"},
            # Deno runs scripts without access to files or the network unless told otherwise, and
            # yt-dlp does not; node and bun have no such walls.
            "js_runtimes": {"deno": {"path": request.deno}} if request.deno else {},
            "remote_components": [],
            # Nothing of this machine's: no caches, cookies, passwords, proxies.
            "cachedir": False,
            "cookiefile": None,
            "usenetrc": False,
            "proxy": "",
            "geo_bypass": False,
            "enable_file_urls": False,
            "socket_timeout": request.socket_timeout,
            "retries": 2,
            "fragment_retries": 2,
            "extractor_retries": 1,
            "file_access_retries": 0,
            # A gap in a song is not a song.
            "skip_unavailable_fragments": False,
            "concurrent_fragment_downloads": 1,
            "updatetime": False,
            "allow_playlist_files": False,
        }

    def _resolve(self, ydl: YoutubeDL) -> dict[str, Any]:
        """The one item that the URL means, its format chosen."""
        info = ydl.extract_info(self._request.url, download=False)
        for _ in range(_HOPS):
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


def _translated(exc: YoutubeDLError) -> StembusError:
    causes = tuple(_causes(exc))
    detail = detail_of(str(exc))
    for cause in causes:
        match cause:
            case StembusError():
                return cause
            case HTTPError():
                header = cause.response.headers.get("Retry-After")
                wait = seconds_to_wait(header, datetime.now(UTC))
                return of_status(cause.status, detail, wait)
            case _:
                continue
    return of_kind(next(filter(None, map(_kind, causes)), Kind.EXPLAINED), detail)


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and what led to it, by yt-dlp's own links.

    Not by Python's implicit context, which also names failures that had been dealt with.
    """
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        exc_info = getattr(link, "exc_info", None) or (None, None, None)
        linked = (exc_info[1], getattr(link, "cause", None), link.__cause__)
        waiting += [cause for cause in linked if isinstance(cause, BaseException)]
        if isinstance(link, UnavailableVideoError):  # raised without "from" for an OSError
            waiting.append(link.__context__)


def _kind(cause: BaseException) -> Kind | None:  # noqa: PLR0911 - a table of classes, which overlap
    match cause:
        case GeoRestrictedError():
            return Kind.GEO_RESTRICTED
        case UserNotLive():
            return Kind.NOT_LIVE_YET
        case UnsupportedError():
            return Kind.UNSUPPORTED
        case ContentTooShortError():
            return Kind.CUT_SHORT
        case TransportError():
            return Kind.TRANSPORT
        case OSError(errno=errno.EFBIG):
            return Kind.FILE_TOO_LARGE
        case OSError(errno=errno.ENOSPC) | OSError(errno=errno.EDQUOT):
            return Kind.DISK_FULL
        case ExtractorError():
            return Kind.EXPLAINED if cause.expected else Kind.NOT_UNDERSTOOD
        case DownloadError():
            return None  # only a wrapper
        case _:
            return None
