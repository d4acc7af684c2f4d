"""What yt-dlp's failures mean: tables from HTTP statuses and messages to our codes.  Pure."""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from services.downloader.core import clean_text, host_of
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """A kind of failure that yt-dlp tells apart by its exception's class."""

    #: The site is none that yt-dlp knows, and the page holds no media.
    UNSUPPORTED = auto()
    GEO_RESTRICTED = auto()
    NOT_LIVE_YET = auto()
    #: No answer, a broken connection, a name that does not resolve, a bad certificate.
    TRANSPORT = auto()
    #: The download ended before its announced length.
    CUT_SHORT = auto()
    #: A file grew beyond what the kernel lets the child write.
    FILE_TOO_LARGE = auto()
    DISK_FULL = auto()
    #: The extractor says why in words only.
    EXPLAINED = auto()
    #: The extractor did not understand the page: the site has changed, or is out of order.
    NOT_UNDERSTOOD = auto()


class Verdict(NamedTuple):
    """A code, and whether trying again can help."""

    code: Code
    retryable: bool = False

    def error(self, detail: str, retry_after: float | None = None) -> StembusError:
        """The exception that says so."""
        if self.retryable:
            return RetryableError(self.code, detail, retry_after=retry_after)
        return TerminalError(self.code, detail)


VERDICTS: Final[Mapping[Kind, Verdict]] = MappingProxyType(
    {
        Kind.UNSUPPORTED: Verdict(Code.SOURCE_NO_MEDIA),
        Kind.GEO_RESTRICTED: Verdict(Code.SOURCE_UNAVAILABLE),
        Kind.NOT_LIVE_YET: Verdict(Code.SOURCE_LIVE),
        Kind.TRANSPORT: Verdict(Code.SOURCE_UNREACHABLE, retryable=True),
        Kind.CUT_SHORT: Verdict(Code.SOURCE_UNREACHABLE, retryable=True),
        Kind.FILE_TOO_LARGE: Verdict(Code.SOURCE_TOO_LARGE),
        Kind.DISK_FULL: Verdict(Code.STORAGE_FULL, retryable=True),
        Kind.EXPLAINED: Verdict(Code.SOURCE_UNAVAILABLE),
        Kind.NOT_UNDERSTOOD: Verdict(Code.SOURCE_UNAVAILABLE, retryable=True),
    }
)

#: What the statuses mean that don't mean "refused" (4xx) or "out of order" (5xx).
STATUSES: Final[Mapping[int, Verdict]] = MappingProxyType(
    {
        404: Verdict(Code.SOURCE_NOT_FOUND),
        408: Verdict(Code.SOURCE_UNREACHABLE, retryable=True),
        410: Verdict(Code.SOURCE_NOT_FOUND),
        425: Verdict(Code.SOURCE_UNREACHABLE, retryable=True),
        429: Verdict(Code.SOURCE_RATE_LIMITED, retryable=True),
        451: Verdict(Code.SOURCE_UNAVAILABLE),
    }
)
_SERVER_ERRORS: Final = 500

#: Parts of messages, lower case, in the order they are tried: from the extractors' sources
#: (yt-dlp 2026.10.26: youtube, soundcloud, bandcamp, vimeo, generic; downloader/http, fragment).
MESSAGES: Final[tuple[tuple[str, Verdict], ...]] = (
    ("did not get any data blocks", Verdict(Code.SOURCE_EMPTY)),
    ("the downloaded file is empty", Verdict(Code.SOURCE_EMPTY)),
    ("no video formats found", Verdict(Code.SOURCE_NO_MEDIA)),
    ("requested format is not available", Verdict(Code.SOURCE_NO_MEDIA)),
    ("unsupported url:", Verdict(Code.SOURCE_NO_MEDIA)),
    ("there's no video in this", Verdict(Code.SOURCE_NO_MEDIA)),
    ("does not contain a video", Verdict(Code.SOURCE_NO_MEDIA)),
    ("no connection adapters", Verdict(Code.SOURCE_SCHEME)),
    ("unsupported url scheme", Verdict(Code.SOURCE_SCHEME)),
    ("is not a valid url", Verdict(Code.SOURCE_NOT_A_URL)),
    ("live event will begin", Verdict(Code.SOURCE_LIVE)),
    ("premieres in", Verdict(Code.SOURCE_LIVE)),
    ("live hls streams are not supported", Verdict(Code.SOURCE_LIVE)),
    ("rate-limit", Verdict(Code.SOURCE_RATE_LIMITED, retryable=True)),
    ("rate limit", Verdict(Code.SOURCE_RATE_LIMITED, retryable=True)),
    ("too many requests", Verdict(Code.SOURCE_RATE_LIMITED, retryable=True)),
    ("not a bot", Verdict(Code.SOURCE_REFUSED)),
    ("captcha", Verdict(Code.SOURCE_REFUSED)),
    ("confirm your age", Verdict(Code.SOURCE_REFUSED)),
    ("age-restricted", Verdict(Code.SOURCE_REFUSED)),
    ("private video", Verdict(Code.SOURCE_UNAVAILABLE)),
    ("sign in", Verdict(Code.SOURCE_REFUSED)),
    ("log in", Verdict(Code.SOURCE_REFUSED)),
    ("login", Verdict(Code.SOURCE_REFUSED)),
    ("registered users", Verdict(Code.SOURCE_REFUSED)),
    ("--cookies", Verdict(Code.SOURCE_REFUSED)),
    ("password", Verdict(Code.SOURCE_REFUSED)),
    ("timed out", Verdict(Code.SOURCE_UNREACHABLE, retryable=True)),
    ("unable to connect", Verdict(Code.SOURCE_UNREACHABLE, retryable=True)),
)


def of_status(status: int, detail: str, retry_after: float | None) -> StembusError:
    """What an HTTP answer means that is no success; ``retry_after`` in seconds."""
    verdict = STATUSES.get(status)
    if verdict is None:
        out_of_order = status >= _SERVER_ERRORS
        code = Code.SOURCE_UNREACHABLE if out_of_order else Code.SOURCE_REFUSED
        verdict = Verdict(code, retryable=out_of_order)
    return verdict.error(detail, retry_after)


def of_kind(kind: Kind, detail: str) -> StembusError:
    """What a failure means that has a class; words decide where the class says little."""
    if kind in {Kind.EXPLAINED, Kind.NOT_UNDERSTOOD}:
        lowered = detail.lower()
        for part, verdict in MESSAGES:
            if part in lowered:
                return verdict.error(detail)
    return VERDICTS[kind].error(detail)


class Blame:
    """Whose refusal it is: the extractor's that took a URL, or the host's where none did.

    The host is as in the URL that was asked for, in lower case and without a port: whoever
    decides not to ask it again knows no other.  Of several extractors it is the first: it stands
    for the site that was asked.
    """

    def __init__(self, url: str) -> None:
        self._host = host_of(url)
        self._extractor: str | None = None

    def recognized(self, extractor: str) -> None:
        """One in particular has taken the URL, or one that it leads to."""
        self._extractor = self._extractor or clean_text(extractor, 60)

    def put_on(self, error: StembusError) -> None:
        """Name the site in what it has answered; what befell ourselves is not its doing."""
        if error.code.value.startswith("source."):
            error.site = self._extractor or self._host
