"""Plain lists of songs, as players keep them: M3U and PLS.  Pure."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Lines that are read: a list of more is not one that somebody keeps.
_LINES: Final = 100_000
#: What only an HLS playlist has, which is one song in pieces.
_HLS: Final = "#EXT-X-"
_PLS_LINE: Final = re.compile(r"(?i)\s*(file|title)(\d{1,6})\s*=\s*(.+)")


class Line(NamedTuple):
    """One song of a list."""

    url: str
    title: str | None = None


def may_be_list(url: str) -> bool:
    """Whether a file of this name may be such a list."""
    return PurePosixPath(urlsplit(url).path).suffix.lower() in {".m3u", ".m3u8", ".pls"}


def read_list(text: str, base: str) -> tuple[Line, ...]:
    """The songs in ``text``, which lay at ``base``; none if it is no such list, or an HLS one."""
    if _HLS in text or text.lstrip()[:1] == "<":
        return ()
    lines = islice(text.splitlines(), _LINES)
    first = next((line.strip() for line in lines if line.strip()), "")
    songs = _pls(lines) if first.lower() == "[playlist]" else _m3u(first, lines)
    return tuple(Line(_joined(base, line.url), line.title) for line in songs)


def _m3u(first: str, rest: Iterator[str]) -> Iterator[Line]:
    title: str | None = None
    for line in (first, *map(str.strip, rest)):
        if line.upper().startswith("#EXTINF:"):
            title = line.partition(",")[2].strip() or None
        elif line and not line.startswith("#"):
            yield Line(line, title)
            title = None


def _pls(lines: Iterator[str]) -> Iterator[Line]:
    files: dict[int, str] = {}
    titles: dict[int, str] = {}
    for line in lines:
        if found := _PLS_LINE.match(line):
            kind, number, value = found.groups()
            (files if kind.lower() == "file" else titles)[int(number)] = value.strip()
    yield from (Line(url, titles.get(number)) for number, url in sorted(files.items()))


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError:
        return url
