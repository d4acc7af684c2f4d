"""yt-dlp as it is used here: bounded, alone, and speaking our codes.  Runs behind the guard.

The one file that imports it; ``song`` and ``playlist`` say what is done with it.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
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
    unsmuggle_url,
)

from services.downloader.core import detail_of, seconds_to_wait
from services.downloader.failures import Kind, of_kind, of_status
from shared.errors import Code, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.downloader.guard import Guard

#: Largest page or playlist that is read into memory; YouTube's pages are about 2 MB.
_PAGE_BYTES: Final = 32 << 20
#: A page that points to a page that points to … is followed this far.
HOPS: Final = 4
#: The extractor that takes what no other does.
GENERIC: Final = "Generic"


class _Logger:
    """Takes what yt-dlp says: prints it for the parent's log, and counts as a sign of life."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive

    def debug(self, message: str) -> None:
        self._alive()
        if not message.startswith("[debug] "):
            print(message)  # noqa: T201 - the parent logs what the child prints

    info = warning = error = debug


class Budget:
    """How much of a site may be read, all its pages together."""

    def __init__(self, *, pages: int, total_bytes: int) -> None:
        self._pages = pages
        self._bytes = total_bytes

    def page(self) -> None:
        """One more is asked for."""
        self._pages -= 1
        if self._pages < 0:
            raise TerminalError(Code.SOURCE_TOO_LARGE, "pages without an end")

    def read(self, size: int) -> None:
        """So many bytes have come."""
        self._bytes -= size
        if self._bytes < 0:
            raise TerminalError(Code.SOURCE_TOO_LARGE, "pages without an end")


class BoundedYoutubeDL(YoutubeDL):  # type: ignore[misc] # yt-dlp ships no types
    """Reads at most ``_PAGE_BYTES`` of a page, however long it is, and says whose site it is."""

    def __init__(
        self,
        options: dict[str, Any],
        *,
        taken: Callable[[str], None],
        budget: Budget | None = None,
    ) -> None:
        """``taken`` hears of each extractor that takes an address, ``Generic`` left out.

        It is named by its site's main one: a playlist's and a song's are one site.
        """
        self._taken = taken
        self._budget = budget
        super().__init__(options)

    def extract_info(self, url: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - yt-dlp's own types
        """As yt-dlp's; ``taken`` hears who does it."""
        key = more.get("ie_key") or self._key_of(url)
        if key not in {None, GENERIC} and key in self._ies:
            self._taken(self._main(key))
        return super().extract_info(url, *args, **more)

    def _key_of(self, url: str) -> str | None:
        return next((key for key, ie in self._ies.items() if ie.suitable(url)), None)

    def _main(self, key: str) -> str:
        """The key of ``youtube`` for that of ``youtube:tab``."""
        name = str(self._ies[key].IE_NAME).partition(":")[0]
        return next((str(other) for other, ie in self._ies.items() if name == ie.IE_NAME), key)

    def lists(self, key: object) -> bool:
        """Whether what this extractor takes holds several songs."""
        found = self._ies.get(key) if isinstance(key, str) else None
        # YouTube's tabs may hold anything, and hold lists.
        return found is not None and (key == "YoutubeTab" or found._RETURN_TYPE == "playlist")  # noqa: SLF001 - yt-dlp tells it nowhere else

    def urlopen(self, req: Any) -> Any:  # noqa: ANN401 - yt-dlp's own types
        """As yt-dlp's, within the budget."""
        if self._budget is not None:
            self._budget.page()
        response = super().urlopen(req)
        read = response.read

        def bounded(amount: int | None = None) -> bytes:
            if amount is not None:
                return self._counted(read(amount))
            page = bytearray()
            while piece := self._counted(read(1 << 16)):
                page += piece
                if len(page) > _PAGE_BYTES:
                    raise TerminalError(Code.SOURCE_TOO_LARGE, "a page without an end")
            return bytes(page)

        response.read = bounded
        return response

    def _counted(self, piece: bytes) -> bytes:
        if self._budget is not None:
            self._budget.read(len(piece))
        return bytes(piece)


def options(
    *, alive: Callable[[], None], socket_timeout: float, deno: str | None
) -> dict[str, Any]:
    """What holds for whatever yt-dlp does here; ``alive`` is called when it says something."""
    return {
        "logger": _Logger(alive),
        "paths": {"home": str(Path.cwd())},
        "noprogress": True,
        "color": "never",
        # No other programs: nothing is merged, converted or repaired here.
        "fixup": "never",
        "postprocessors": [],
        "ffmpeg_location": str(Path.cwd() / "no-ffmpeg"),
        "external_downloader": {"default": "native", "m3u8": "native", "dash": "native"},
        # Deno runs scripts without access to files or the network unless told otherwise, and
        # yt-dlp does not; node and bun have no such walls.
        "js_runtimes": {"deno": {"path": deno}} if deno else {},
        "remote_components": [],
        # Nothing of this machine's: no caches, cookies, passwords, proxies.
        "cachedir": False,
        "cookiefile": None,
        "usenetrc": False,
        "proxy": "",
        "geo_bypass": False,
        "enable_file_urls": False,
        "socket_timeout": socket_timeout,
        "retries": 2,
        "extractor_retries": 1,
        "file_access_retries": 0,
        "allow_playlist_files": False,
    }


@contextmanager
def speaking_our_codes(guard: Guard) -> Iterator[None]:
    """What yt-dlp raises, as ours."""
    try:
        yield
    except StembusError:
        raise
    except YoutubeDLError as exc:
        if guard.refused is not None:
            # Somewhere inside it was taken for a bad connection.
            raise TerminalError(Code.SOURCE_FORBIDDEN_ADDRESS, guard.refused) from exc
        raise _translated(exc) from exc


def unsmuggled(url: str) -> str:
    """``url`` without what yt-dlp has hidden in it for itself, where that is of no account.

    A podcast's entries bear their ids so; a referer that a site insists on stays.
    """
    plain, hidden = unsmuggle_url(url, {})
    return str(plain) if set(hidden) <= {"force_videoid"} else url


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
