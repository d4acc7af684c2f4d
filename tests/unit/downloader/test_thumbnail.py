"""The picture that a site shows: which addresses are asked, and what may come of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from services.downloader import thumbnail
from services.downloader.messages import SITE_COVER
from services.downloader.thumbnail import TRIES, candidates, keep_thumbnail
from services.downloader.ytdlp import BoundedYoutubeDL, options

if TYPE_CHECKING:
    from pathlib import Path

    from services.downloader.children import ChildFetcher
    from tests.support.site import Site

#: What yt-dlp says, and the addresses that are tried, in order.
SAID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "one": ({"thumbnail": "https://e.org/a.jpg"}, ["https://e.org/a.jpg"]),
    "several, the best last": (
        {
            "thumbnails": [{"url": f"https://e.org/{size}.jpg"} for size in "smx"],
            "thumbnail": "https://e.org/x.jpg",
        },
        ["https://e.org/x.jpg", "https://e.org/m.jpg", "https://e.org/s.jpg"],
    ),
    "guesses, and one that is there": (
        {
            "thumbnails": [{"url": f"https://e.org/{n}.jpg"} for n in range(9)],
            "thumbnail": "https://e.org/2.jpg",
        },
        [f"https://e.org/{n}.jpg" for n in (8, 7, 6, 5, 2)],
    ),
    "guesses, and one that no file can hold": (
        {
            "thumbnails": [{"url": f"https://e.org/{n}.jpg"} for n in range(9)],
            "thumbnail": "https://e.org/2.webp",
        },
        [f"https://e.org/{n}.jpg" for n in (8, 7, 6, 5, 4)],
    ),
    "what no file can hold": (
        {"thumbnails": [{"url": "https://e.org/a.jpg"}, {"url": "https://e.org/A.WEBP?x=1#y"}]},
        ["https://e.org/a.jpg"],
    ),
    "no ending": ({"thumbnail": "https://e.org/picture?id=1"}, ["https://e.org/picture?id=1"]),
    "more than are tried": (
        {"thumbnails": [{"url": f"https://e.org/{n}.jpg"} for n in range(9)]},
        [f"https://e.org/{n}.jpg" for n in (8, 7, 6, 5, 4)],
    ),
    "a file of ours": ({"thumbnail": "file:///etc/passwd"}, []),
    "with a password": ({"thumbnail": "https://a:b@e.org/a.jpg"}, []),
    "no list": ({"thumbnails": {"url": "https://e.org/a.jpg"}}, []),
    "no words": ({"thumbnails": [None, 7, {"url": 7}, {}, "x"], "thumbnail": 7}, []),
}


@pytest.mark.parametrize("what", SAID)
def test_the_best_addresses_are_tried(what: str) -> None:
    info, expected = SAID[what]
    assert candidates(info) == expected
    assert len(expected) <= TRIES


#: Pages of the site, and whether a picture comes with the song.
PAGES = {
    "/covered.html": True,
    "/song.html": False,
    "/no-cover.html": False,
    "/false-cover.html": False,
    "/long-cover.html": False,
    "/inward-cover.html": False,
}


@pytest.mark.parametrize("page", PAGES)
async def test_a_song_comes_with_its_picture_and_never_fails_for_it(
    page: str, fetcher: ChildFetcher, site: Site, media: Path, tmp_path: Path
) -> None:
    fetched = await fetcher.fetch(f"{site.base}{page}", folder=tmp_path, moving=lambda *_: None)
    assert (tmp_path / fetched.name).read_bytes() == (media / "song.mp3").read_bytes()
    found = tmp_path / SITE_COVER
    assert found.exists() == PAGES[page]
    # There is a picture there, which a guarded visitor does not come to.
    assert "/elsewhere.jpg" not in site.asked
    if found.exists():
        assert found.read_bytes() == (media / "cover.jpg").read_bytes()


def test_a_site_that_sends_a_byte_now_and_then_is_not_waited_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnail, "SECONDS", 3.0)
    monkeypatch.chdir(tmp_path)
    said = options(alive=lambda: None, socket_timeout=20.0, deno=None)
    with BoundedYoutubeDL(said, taken=lambda _: None) as ydl:
        began = time.monotonic()
        keep_thumbnail(ydl, {"thumbnail": f"{site.base}/trickle.jpg"}, tmp_path / "cover")
        # It would take the four MiB that a picture may have, a byte at a time.
        assert time.monotonic() - began < 15.0
    assert "/trickle.jpg" in site.asked
    assert not (tmp_path / "cover").exists()
