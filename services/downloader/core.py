"""The downloader's rules: what may be asked for, and what is kept of the answer.  Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from shared.contracts.audio import Metadata, Track
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Longest texts that are kept: a title is shown in one line, a URL must fit a browser's.
TEXT_CHARACTERS: Final = 300
URL_CHARACTERS: Final = 2048
#: Longest wait that a site may ask for, in seconds: more is as good as a refusal.
RETRY_AFTER_SECONDS: Final = 24 * 3600.0

_EXTENSION: Final = re.compile(r"\A[a-z0-9]{1,8}\Z")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: What begins most of its messages: the name of an extractor, and of an entry.
_TAGS: Final = re.compile(r"\A\[[\w:+.-]{1,60}\] (?:[^\s:]{1,100}: )?")
#: yt-dlp's advice to its own users, which is no use to ours.
_ADVICE: Final = re.compile(r"; please report this issue.*|\(caused by .*", re.DOTALL)


class TrackRecord(Struct, frozen=True, kw_only=True):
    """``track.json``: what is known of a stored track."""

    track: Track
    #: As the source that stored it first said.
    metadata: Metadata
    #: Extension of the ``original`` blob.
    extension: str


def check_url(url: str) -> None:
    """Raise unless ``url`` is an http(s) address with a host: the gateway said so, but be sure."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as exc:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:100]) from exc
    if parts.scheme.lower() not in {"http", "https"}:
        raise TerminalError(Code.SOURCE_SCHEME, parts.scheme[:20])
    if not host:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:100])


def host_of(url: str) -> str | None:
    """The host in ``url``, in lower case; None where there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def clean_text(value: object, limit: int = TEXT_CHARACTERS) -> str | None:
    """``value`` as one line of plain text of at most ``limit`` characters; None if it is none.

    Control and format characters go (a right-to-left override can disguise a text), and so do
    runs of white space.
    """
    if not isinstance(value, str):
        return None
    kept = "".join(
        " " if unicodedata.category(c) in {"Zl", "Zp", "Zs", "Cc"} else c
        for c in value[: 4 * limit]
        if unicodedata.category(c) not in {"Cf", "Cs", "Co", "Cn"}
    )
    return " ".join(kept.split())[:limit].rstrip() or None


def clean_link(value: object) -> str | None:
    """``value`` if it is an http(s) address that a page may link to; None otherwise."""
    if not isinstance(value, str) or len(value) > URL_CHARACTERS or not value.isprintable():
        return None
    try:
        parts = urlsplit(value)
        found = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return None
    # A password in an address is nobody's business.
    return value if found and "@" not in parts.netloc else None


def metadata_of(info: Mapping[str, Any]) -> Metadata:
    """What is kept of a yt-dlp info dict; nothing in it can be trusted to have its type."""
    duration = info.get("duration")
    return Metadata(
        title=clean_text(info.get("track")) or clean_text(info.get("title")),
        artist=_first_text(info, "artist", "artists", "creator", "uploader", "channel"),
        duration=_positive(duration),
        thumbnail=clean_link(info.get("thumbnail")),
        page=clean_link(info.get("webpage_url")),
        extractor=clean_text(info.get("extractor_key"), 60),
    )


def _first_text(info: Mapping[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = info.get(key)
        if isinstance(value, list):
            value = ", ".join(part for part in value if isinstance(part, str))
        if (text := clean_text(value)) is not None:
            return text
    return None


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def title_of(filename: str) -> str | None:
    """A title made of an uploaded file's name: its last part without the extension."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return clean_text(PurePath(name).stem.replace("_", " ")) if name else None


def extension_of(filename: str, fallback: str) -> str:
    """The extension of ``filename`` where it is a harmless one, else ``fallback``; no dot."""
    suffix = PurePath(filename.replace("\\", "/")).suffix[1:].lower()
    return suffix if _EXTENSION.match(suffix) else fallback


def detail_of(message: str) -> str:
    """yt-dlp's message as a detail for people: one line, without its colours, tags and advice."""
    plain = _TAGS.sub("", _ESCAPES.sub("", message).removeprefix("ERROR: "))
    return clean_text(_ADVICE.sub("", plain)) or ""


def seconds_to_wait(retry_after: str | None, now: datetime) -> float | None:
    """A Retry-After header (RFC 9110, 10.2.3) in seconds; None where it says nothing usable."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isdecimal():
        seconds = float(text[:10])
    else:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        # "-0000" parses to a time without a zone, which means UTC.
        seconds = ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS)


def megabytes(received: int, total: int | None, speed: float | None) -> str:
    """``3.1 of 8.4 MB, 1.2 MB/s``, leaving out what is unknown."""
    parts = f"{received / 1e6:.1f} MB"
    if total is not None:
        parts = f"{received / 1e6:.1f} of {total / 1e6:.1f} MB"
    return parts if speed is None else f"{parts}, {speed / 1e6:.1f} MB/s"
