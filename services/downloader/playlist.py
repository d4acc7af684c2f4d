"""A playlist: the addresses of its songs, none of which is fetched.  Runs in a child."""

from __future__ import annotations

from itertools import count as counted
from typing import TYPE_CHECKING, Any, Final

from services.downloader.addresses import parse_networks
from services.downloader.core import clean_text
from services.downloader.entries import (
    SKIPPED_LISTED,
    TITLE_CHARACTERS,
    Rules,
    is_live,
    judged,
    name_of,
    too_long,
)
from services.downloader.lists import may_be_list, read_list
from services.downloader.messages import Found, Missed, Read, Reading, Recognized, Rest
from services.downloader.ytdlp import (
    HOPS,
    BoundedYoutubeDL,
    Budget,
    options,
    speaking_our_codes,
    unsmuggled,
)
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from services.downloader.guard import Guard
    from services.downloader.messages import ExpandReport, ExpandRequest

#: What reading one playlist may cost: sites give 20 to 100 entries a page.
_PAGES: Final = 200
_BYTES: Final = 96 << 20
#: Entries that are looked at, those that can't be taken included.
_LOOKED_AT: Final = 5_000
#: A list within a list within … is read this far.
_DEPTH: Final = 3
#: Types of what yt-dlp finds that hold entries.
_LISTS: Final = frozenset({"playlist", "multi_video"})


class PlaylistRead:
    """One reading of one playlist."""

    def __init__(
        self, *, request: ExpandRequest, guard: Guard, report: Callable[[ExpandReport], None]
    ) -> None:
        self._request = request
        self._guard = guard
        self._report = report
        self._taken = 0
        self._looked_at = 0

    def run(self) -> None:
        """Read it; ends with a ``Read`` report or a ``StembusError``."""
        request = self._request
        common = options(
            alive=self._alive, socket_timeout=request.socket_timeout, deno=request.deno
        )
        with BoundedYoutubeDL(
            # Of a song in a list, the list is what was asked for.
            common | {"noplaylist": False, "extract_flat": True, "lazy_playlist": True},
            taken=lambda extractor: self._report(Recognized(extractor=extractor)),
            budget=Budget(pages=_PAGES, total_bytes=_BYTES),
        ) as ydl:
            with speaking_our_codes(self._guard):
                info = self._plain_list(ydl) or self._resolved(ydl)
            if info.get("_type") in _LISTS:
                self._read(ydl, info)
            else:
                self._one(info)
        self._report(Read(title=clean_text(info.get("title"), TITLE_CHARACTERS)))

    def _alive(self) -> None:
        self._report(Reading())

    def _plain_list(self, ydl: BoundedYoutubeDL) -> dict[str, Any] | None:
        """A list as players keep it, which yt-dlp would take for one song in pieces."""
        url = self._request.url
        if not may_be_list(url):
            return None
        with ydl.urlopen(url) as response:
            text = response.read().decode("utf-8", "replace").removeprefix("\ufeff")
            songs = read_list(text, response.url)
        entries = [{"_type": "url", "url": song.url, "title": song.title} for song in songs]
        return {"_type": "playlist", "entries": entries} if entries else None

    def _resolved(self, ydl: BoundedYoutubeDL) -> dict[str, Any]:
        """What the URL means, its entries not yet read."""
        info = ydl.extract_info(self._request.url, download=False, process=False)
        for _ in range(HOPS):
            if not info:
                raise TerminalError(Code.SOURCE_NO_MEDIA)
            if info.get("_type", "video") not in {"url", "url_transparent"}:
                return dict(info)
            key = info.get("ie_key")
            info = ydl.extract_info(info["url"], download=False, process=False, ie_key=key)
        raise TerminalError(Code.SOURCE_NO_MEDIA, "a page that only leads to other pages")

    def _one(self, info: dict[str, Any]) -> None:
        """A song, and no list."""
        if is_live(info):
            raise TerminalError(Code.SOURCE_LIVE)
        title = clean_text(info.get("title"), TITLE_CHARACTERS)
        self._report(Found(url=self._request.url, title=title))

    def _read(self, ydl: BoundedYoutubeDL, info: dict[str, Any]) -> None:
        request = self._request
        rules = Rules(
            playlist=request.url,
            max_seconds=request.max_seconds,
            allow=parse_networks(request.allow_networks),
            lists=ydl.lists,
            plain=unsmuggled,
        )
        announced = info.get("playlist_count")
        beyond = 0
        try:
            with speaking_our_codes(self._guard):
                for entry in _flat(info.get("entries"), _DEPTH):
                    if beyond >= SKIPPED_LISTED or self._looked_at >= _LOOKED_AT:
                        self._report(
                            Rest(problem=too_long(request.limit), count=self._left(announced))
                        )
                        break
                    self._looked_at += 1
                    beyond += not self._tell(entry, rules)
        except TerminalError as exc:
            if not self._taken:
                raise
            # What has been read is good; what follows can't be had, now or later.
            self._report(Rest(problem=Problem.of(exc), count=self._left(announced)))
        if not self._looked_at:
            raise TerminalError(Code.SOURCE_NO_MEDIA, "an empty playlist")

    def _left(self, announced: object) -> int | None:
        """How many entries have not been looked at."""
        known = isinstance(announced, int) and announced > self._looked_at
        return int(announced) - self._looked_at if known else None  # type: ignore[call-overload] # known says so

    def _tell(self, entry: object, rules: Rules) -> bool:
        """Report one entry; False if it is beyond the limit."""
        name = name_of(entry, self._looked_at)
        try:
            song = judged(entry, rules)
        except TerminalError as exc:
            self._report(Missed(entry=name, problem=Problem.of(exc)))
            return True
        if self._taken >= self._request.limit:
            self._report(Missed(entry=song.url, problem=too_long(self._request.limit)))
            return False
        self._taken += 1
        self._report(Found(url=song.url, title=song.title))
        return True


def _flat(entries: object, depth: int) -> Iterator[object]:
    """The entries, and those of lists that lie among them."""
    for entry in _each(entries):
        inner = entry.get("entries") if isinstance(entry, dict) else None
        if inner is not None and depth > 1:
            yield from _flat(inner, depth - 1)
        else:
            yield entry


def _each(entries: object) -> Iterator[object]:
    """One after another, page by page where they come so; whatever goes wrong has a code."""
    pages: Any = getattr(entries, "getslice", None)
    size = getattr(entries, "_pagesize", 1)
    found: Iterable[object] = entries or ()  # type: ignore[assignment] # yt-dlp ships no types
    try:
        if pages is None:
            yield from found
            return
        for number in counted():
            page = pages(number * size, (number + 1) * size)
            yield from page
            if len(page) < size:
                return
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        # An extractor that stumbled over a page, outside of where yt-dlp would say so.
        detail = f"{type(exc).__name__} on a page of the list"
        raise RetryableError(Code.SOURCE_UNAVAILABLE, detail) from exc
