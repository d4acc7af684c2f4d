"""What a command line names as songs: addresses, files, folders, and lists of addresses."""

from __future__ import annotations

import codecs
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What is taken from a folder, by the file's ending.
MEDIA: Final = re.compile(
    r"\.(aac|aiff?|alac|ape|flac|m4[ab]|mk[av]|mov|mp[34c]|og[ag]|opus|wav|webm|wma|wv)"
)
#: This machine's own addresses.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
#: As much of a file as is looked at to tell a list from a song.
_HEAD_BYTES: Final = 4096
_STDIN: Final = "-"


class SourceError(ValueError):
    """What was named can't be sent; the message says why."""


class Songs(NamedTuple):
    """Songs, in the order they were named."""

    urls: list[str]
    files: list[Path]

    @property
    def loopback(self) -> bool:
        """Whether one of them lies on this very machine, as a URL."""
        return any(is_loopback(url) for url in self.urls)


def is_url(text: str) -> bool:
    """Whether ``text`` is an address and not a file's name."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine itself, by address or as localhost."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def one(word: str) -> str | Path:
    """One song: a URL, or a file that is there."""
    if is_url(word):
        return word
    path = Path(word).expanduser()
    if not path.is_file():
        raise SourceError(f"{word}: there is no such file, and it is not a URL")
    return path


def several(words: Sequence[str]) -> Songs:
    """Many songs: URLs, song files, folders of them, text files of URLs, ``-`` for such a text."""
    songs = Songs([], [])
    for word in words:
        if is_url(word):
            songs.urls.append(word)
        elif word == _STDIN:
            songs.urls.extend(_listed(sys.stdin.buffer.read()))
        elif Path(word).expanduser().is_dir():
            songs.files.extend(_media_in(Path(word).expanduser()))
        else:
            _add_file(songs, word)
    return songs


def _add_file(songs: Songs, word: str) -> None:
    path = one(word)
    assert isinstance(path, Path)  # noqa: S101 - the word is no URL, as was asked before
    if _is_text(path):
        songs.urls.extend(_listed(path.read_bytes()))
    else:
        songs.files.append(path)


def _media_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if MEDIA.fullmatch(path.suffix.lower()))
    files = [path for path in found if path.is_file()]
    if not files:
        raise SourceError(f"{folder}: there is no song in this folder")
    return files


def _listed(text: bytes) -> list[str]:
    """A line each; empty ones, and those that begin with ``#``, say nothing.

    What is no URL is sent like the others: the server says of each what is wrong with it.
    """
    lines = text.decode("utf-8-sig", errors="replace").splitlines()
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def _is_text(path: Path) -> bool:
    """Whether it begins as a text does: every kind of media file has other bytes in its head."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(sign.isprintable() or sign.isspace() or sign == "\ufeff" for sign in text)
