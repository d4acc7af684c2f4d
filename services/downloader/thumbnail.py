"""The picture that a site shows for a song.  Runs in the download's child, behind the guard."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from yt_dlp.networking import Request

from services.downloader.core import clean_link
from services.downloader.covers import COVER_BYTES, is_cover

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from services.downloader.ytdlp import BoundedYoutubeDL

#: Seconds that all of its pictures may take together: a song does not wait longer for one.
SECONDS: Final = 10.0
#: Addresses that are tried; a site has the same picture in many sizes.
TRIES: Final = 5
#: Endings of addresses of pictures that no file of music can hold.
_USELESS: Final = (".webp", ".avif", ".gif", ".svg", ".heic")


def candidates(info: Mapping[str, Any]) -> list[str]:
    """Addresses of pictures in a yt-dlp info dict, the best first; none of it can be trusted."""
    listed = info.get("thumbnails")
    # yt-dlp puts the best one last.
    found = (
        [one.get("url") for one in reversed(listed) if isinstance(one, dict)]
        if isinstance(listed, list)
        else []
    )
    best = [link for link in map(_useful, found) if link]
    # Many of them are guesses; that there is the one it names itself, yt-dlp is sure of.
    sure = _useful(info.get("thumbnail"))
    return list(dict.fromkeys([*best[: TRIES - 1], *([sure] if sure else best[TRIES - 1 :])]))[
        :TRIES
    ]


def _useful(value: object) -> str | None:
    link = clean_link(value)
    return None if link is None or _path(link).endswith(_USELESS) else link


def keep_thumbnail(ydl: BoundedYoutubeDL, info: Mapping[str, Any], target: Path) -> None:
    """Put a picture at ``target`` if one can be had in time; a song never fails for it."""
    links = candidates(info)
    if not links:
        return
    # A site that sends a byte now and then can't be timed out from within.
    fetch = threading.Thread(target=_keep_first, args=(ydl, links, target), daemon=True)
    fetch.start()
    fetch.join(SECONDS)


def _keep_first(ydl: BoundedYoutubeDL, links: list[str], target: Path) -> None:
    for link in links:
        try:
            picture = ydl.urlopen(Request(link)).read(COVER_BYTES + 1)
        except Exception as exc:  # noqa: BLE001 - a picture is not worth a song, whatever went wrong
            print(f"a picture is left out: {exc}", flush=True)  # noqa: T201 - the parent logs what the child prints
            continue
        if is_cover(picture):
            part = target.with_suffix(".part")
            part.write_bytes(picture)
            part.rename(target)  # a thread that is left behind must not leave half a picture
            return


def _path(link: str) -> str:
    return link.partition("?")[0].partition("#")[0].lower()
