"""What of a playlist is taken, and why the rest is not.  Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

from services.downloader.addresses import Network, is_allowed
from services.downloader.core import (
    URL_CHARACTERS,
    check_url,
    clean_text,
    host_of,
    metadata_of,
)
from shared.contracts.batch import MAX_ENTRIES, Entry, Skipped
from shared.contracts.codec import encode
from shared.contracts.problem import Problem
from shared.contracts.request import Source
from shared.errors import Code, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Skipped entries that are named one by one; those beyond are counted.
SKIPPED_LISTED: Final = 50
#: Longest title of an entry, and longest name of a skipped one: half a thousand of them go into
#: one record.
TITLE_CHARACTERS: Final = 120
NAME_CHARACTERS: Final = 200
#: Bytes of all entries together, as they are stored: with what was skipped they fit the broker's
#: largest message, however long each address is.
ENTRIES_BYTES: Final = 300_000

#: How sites say that an entry is there for some, or was there once.
_CLOSED: Final = frozenset({"private", "premium_only", "subscriber_only", "needs_auth"})
_GONE: Final = frozenset({"[private video]", "[deleted video]", "[unavailable video]"})
_YOUTUBE_ID: Final = re.compile(r"\A[\w-]{11}\Z", re.ASCII)


class Song(NamedTuple):
    """An entry that can be taken."""

    url: str
    title: str | None


class Rules(NamedTuple):
    """What is asked of an entry."""

    #: Where the playlist lies.
    playlist: str
    max_seconds: float
    allow: tuple[Network, ...]
    #: Whether an extractor's addresses hold several songs each.
    lists: Callable[[object], bool]
    #: An address without what yt-dlp has hidden in it.
    plain: Callable[[str], str]


def judged(entry: object, rules: Rules) -> Song:
    """The song that an entry of a yt-dlp playlist is; a ``TerminalError`` says why it is none."""
    if not isinstance(entry, dict):
        raise TerminalError(Code.SOURCE_UNAVAILABLE, "an entry that is not there any more")
    title = clean_text(entry.get("title"), TITLE_CHARACTERS)
    if entry.get("availability") in _CLOSED or (title or "").lower() in _GONE:
        raise TerminalError(Code.SOURCE_UNAVAILABLE, title or "")
    if is_live(entry):
        raise TerminalError(Code.SOURCE_LIVE, title or "")
    seconds = metadata_of(entry).duration or 0.0
    if seconds > rules.max_seconds:
        raise TerminalError(Code.SOURCE_TOO_LONG, f"{seconds:.0f} s")
    url = rules.plain(address_of(entry, rules.playlist))
    admit(url, rules.allow)
    if urldefrag(url).url == urldefrag(rules.playlist).url or rules.lists(entry.get("ie_key")):
        raise TerminalError(Code.SOURCE_PLAYLIST, title or "")
    return Song(url, title)


def is_live(info: Mapping[str, Any]) -> bool:
    """Whether it has no end, or no beginning yet."""
    return bool(info.get("is_live")) or info.get("live_status") in {"is_live", "is_upcoming"}


def address_of(entry: Mapping[str, Any], playlist: str) -> str:
    """Where an entry's song can be had; a ``TerminalError`` if nothing tells."""
    url, page = entry.get("url"), entry.get("webpage_url")
    if entry.get("_type", "video") == "video":
        # Of a whole video its page is the better address: that of its file may soon be stale.
        if isinstance(page, str) and urldefrag(page).url != urldefrag(playlist).url:
            return page
        formats = entry.get("formats")
        last = formats[-1] if isinstance(formats, list) and formats else None
        url = url or (last.get("url") if isinstance(last, dict) else None)
    if not isinstance(url, str) or not url.strip():
        raise TerminalError(Code.SOURCE_NO_MEDIA, "it has no address")
    url = url.strip()
    if entry.get("ie_key") == "Youtube" and _YOUTUBE_ID.match(url):
        return f"https://www.youtube.com/watch?v={url}"
    try:
        return urljoin(playlist, url)
    except ValueError as exc:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:100]) from exc


def admit(url: str, allow: tuple[Network, ...]) -> None:
    """Raise unless a client could have given this address as a job's source.

    An address in numbers that leads into a private network is refused here; a name is when it
    is connected to.
    """
    if len(url) > URL_CHARACTERS or not url.isprintable() or " " in url:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:100])
    check_url(url)
    try:
        if "@" in urlsplit(url).netloc:
            # What a user types in is theirs to know; a page must not have us log in somewhere.
            raise TerminalError(Code.SOURCE_NOT_A_URL, "an address with a password in it")
        _ = urlsplit(url).port
    except ValueError as exc:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:100]) from exc
    host = host_of(url) or ""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return
    if not is_allowed(host, allow):
        raise TerminalError(Code.SOURCE_FORBIDDEN_ADDRESS, host[:100])


def name_of(entry: object, number: int) -> str:
    """What a skipped entry is called: its address, its title, or its number."""
    if isinstance(entry, dict):
        for key in ("url", "webpage_url", "title"):
            if (text := clean_text(entry.get(key), NAME_CHARACTERS)) is not None:
                return text
    return f"entry {number}"


class Selection:
    """The entries and the skipped of a playlist, bounded, as they come in."""

    def __init__(self, limit: int) -> None:
        self._limit = max(0, min(limit, MAX_ENTRIES))
        self._bytes = 0
        self._entries: list[Entry] = []
        self._skipped: list[Skipped] = []
        #: Those that are not named: how many, as far as that is known, and why the last one.
        self._more = 0
        self._uncounted = False
        self._why: Problem | None = None

    def found(self, url: str, title: str | None) -> None:
        """One that can be taken, if there is room for it."""
        try:
            check_url(url)
        except StembusError as exc:
            self.missed(url, Problem.of(exc))
            return
        title = clean_text(title, TITLE_CHARACTERS)
        entry = Entry(source=Source(url=url[:URL_CHARACTERS]), title=title)
        size = len(encode(entry)) + 1
        if len(self._entries) >= self._limit or self._bytes + size > ENTRIES_BYTES:
            self.missed(url, too_long(self._limit))
            return
        self._bytes += size
        self._entries.append(entry)

    def missed(self, entry: str, problem: Problem) -> None:
        """One that can't."""
        if len(self._skipped) < SKIPPED_LISTED:
            name = clean_text(entry, NAME_CHARACTERS) or "?"
            self._skipped.append(Skipped(entry=name, problem=_plain(problem)))
        else:
            self._more += 1
            self._why = _plain(problem)

    def rest(self, count: int | None, problem: Problem) -> None:
        """What follows has not been looked at."""
        self._more += count or 0
        self._uncounted = self._uncounted or count is None
        self._why = _plain(problem)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Those that are taken."""
        return tuple(self._entries)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Those that are not; where they are too many, the last one says how many more."""
        if self._why is None:
            return tuple(self._skipped)
        if not self._uncounted:
            name = f"{self._more} more"
        else:
            name = f"at least {self._more} more" if self._more else "the rest"
        return (*self._skipped, Skipped(entry=name, problem=self._why))


def _plain(problem: Problem) -> Problem:
    """A problem in our words, with a detail that is bounded text: a child may say anything."""
    detail = clean_text(problem.detail, NAME_CHARACTERS) or ""
    return Problem.of(TerminalError(problem.code, detail))


def too_long(limit: int) -> Problem:
    """Why an entry beyond the limit is skipped."""
    return Problem.of(TerminalError(Code.BATCH_TOO_LONG, f"{limit} songs at most"))
