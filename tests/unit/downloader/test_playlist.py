"""Playlists read by a real child from a real site; and what only a great site can do."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import msgspec
import pytest
from yt_dlp.utils import ExtractorError, OnDemandPagedList

from services.downloader import playlist as playlist_module
from services.downloader.children import ChildExpander, Expansion
from services.downloader.entries import SKIPPED_LISTED
from services.downloader.guard import Guard
from services.downloader.messages import ExpandRequest, Found, Missed, Read, Rest
from services.downloader.playlist import PlaylistRead
from shared.errors import Code, RetryableError, StembusError, TerminalError
from tests.support.processes import children_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.downloader.config import DownloaderConfig
    from tests.support.site import Site


def feed(*links: str, title: str = "A feed") -> str:
    items = "".join(
        f"<item><title>Song {number}</title><guid>{number}</guid>"
        f'<enclosure url="{link}" type="audio/mpeg"/></item>'
        for number, link in enumerate(links)
    )
    return f"<rss version='2.0'><channel><title>{title}</title>{items}</channel></rss>"


@pytest.fixture
def publish(site: Site, media: Path) -> Callable[[str, str], str]:
    """Puts a text on the site; its address."""

    def put(name: str, text: str) -> str:
        (media / name).write_text(text)
        return f"{site.base}/media/{name}"

    return put


async def read(
    expander: ChildExpander, url: str, folder: Path, limit: int = 100
) -> Expansion | StembusError:
    try:
        return await expander.expand(url, limit=limit, folder=folder)
    except StembusError as exc:
        return exc


def songs(found: Expansion | StembusError) -> list[tuple[str | None, str | None]]:
    assert isinstance(found, Expansion), found
    return [(entry.source.url, entry.title) for entry in found.selection.entries]


def skipped(found: Expansion | StembusError) -> list[tuple[str, Code]]:
    assert isinstance(found, Expansion), found
    return [(one.entry, one.problem.code) for one in found.selection.skipped]


async def test_a_feed_is_its_episodes(
    expander: ChildExpander, publish: Callable[[str, str], str], tmp_path: Path
) -> None:
    url = publish("feed.xml", feed("https://example.org/0.mp3", "https://example.org/1.mp3"))
    found = await read(expander, url, tmp_path)
    assert songs(found) == [
        ("https://example.org/0.mp3", "Song 0"),
        ("https://example.org/1.mp3", "Song 1"),
    ]
    assert skipped(found) == []
    assert isinstance(found, Expansion)
    assert found.title == "A feed"


async def test_a_page_with_several_songs_is_these(
    expander: ChildExpander, site: Site, tmp_path: Path
) -> None:
    found = await read(expander, f"{site.base}/songs.html", tmp_path)
    assert [url for url, _ in songs(found)] == [
        f"{site.base}/media/song.mp3",
        f"{site.base}/media/b.mp3",
    ]


@pytest.mark.parametrize("path", ["/media/song.mp3", "/song.html", "/media/hls/playlist.m3u8"])
async def test_what_is_one_song_is_one_entry(
    expander: ChildExpander, site: Site, tmp_path: Path, path: str
) -> None:
    found = await read(expander, site.base + path, tmp_path)
    assert [url for url, _ in songs(found)] == [site.base + path]
    assert skipped(found) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u", "#EXTM3U\n#EXTINF:2,One\nsong.mp3\n/media/b.mp3\n"),
        ("list.m3u8", "\ufeff#EXTM3U\n#EXTINF:2,One\nsong.mp3\n/media/b.mp3\n"),
        ("list.pls", "[playlist]\nFile1=song.mp3\nTitle1=One\nFile2=b.mp3\n"),
    ],
)
async def test_a_list_as_players_keep_it_is_read(
    expander: ChildExpander,
    publish: Callable[[str, str], str],
    site: Site,
    tmp_path: Path,
    name: str,
    text: str,
) -> None:
    found = await read(expander, publish(name, text), tmp_path)
    assert songs(found) == [
        (f"{site.base}/media/song.mp3", "One"),
        (f"{site.base}/media/b.mp3", None),
    ]


async def test_what_a_list_must_not_name_is_skipped_and_said_so(
    expander: ChildExpander, publish: Callable[[str, str], str], tmp_path: Path
) -> None:
    lines = [
        "https://example.org/a.mp3",
        "file:///etc/passwd",
        "http://10.0.0.7/a.mp3",
        "http://u:p@example.org/",
    ]
    found = await read(expander, publish("bad.m3u", "\n".join(lines)), tmp_path)
    assert [url for url, _ in songs(found)] == lines[:1]
    assert skipped(found) == [
        (lines[1], Code.SOURCE_SCHEME),
        (lines[2], Code.SOURCE_FORBIDDEN_ADDRESS),
        (lines[3], Code.SOURCE_NOT_A_URL),
    ]


async def test_a_playlist_that_names_itself_does_not_go_round(
    expander: ChildExpander, publish: Callable[[str, str], str], site: Site, tmp_path: Path
) -> None:
    me = f"{site.base}/media/self.xml"
    publish("self.xml", feed(me, "https://example.org/1.mp3", f"{me}#again"))
    found = await read(expander, me, tmp_path)
    assert [url for url, _ in songs(found)] == ["https://example.org/1.mp3"]
    assert [code for _, code in skipped(found)] == [Code.SOURCE_PLAYLIST] * 2


async def test_a_redirect_that_leads_to_itself_ends(
    expander: ChildExpander, site: Site, tmp_path: Path
) -> None:
    loop = f"{site.base}/redirect?to=/redirect"
    to = quote(f"{site.base}/redirect?to={quote(loop, safe='')}", safe="")
    found = await read(expander, f"{site.base}/redirect?to={to}", tmp_path)
    assert isinstance(found, StembusError)


async def test_a_long_playlist_is_cut_off_and_the_rest_counted(
    expander: ChildExpander, publish: Callable[[str, str], str], tmp_path: Path
) -> None:
    url = publish("long.xml", feed(*(f"https://example.org/{n}.mp3" for n in range(3000))))
    found = await read(expander, url, tmp_path, limit=20)
    assert len(songs(found)) == 20
    left = skipped(found)
    assert len(left) == SKIPPED_LISTED + 1
    assert {code for _, code in left} == {Code.BATCH_TOO_LONG}
    assert left[-1][0] == "the rest"


#: Path on the site, code, seconds to wait where trying again can help.
FAILURES = [
    ("/status/404", Code.SOURCE_NOT_FOUND, None),
    ("/status/403", Code.SOURCE_REFUSED, None),
    ("/status/429?after=7", Code.SOURCE_RATE_LIMITED, 7.0),
    ("/status/503?after=9", Code.SOURCE_UNREACHABLE, 9.0),
    ("/media/no-such.m3u", Code.SOURCE_NOT_FOUND, None),
    ("/redirect?to=http://192.168.0.1/list.xml", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=http://169.254.169.254/list.m3u", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=file:///etc/passwd", Code.SOURCE_SCHEME, None),
    ("/endless.html", Code.SOURCE_TOO_LARGE, None),
    ("/empty.html", Code.SOURCE_NO_MEDIA, None),
    ("/live.m3u8", Code.SOURCE_LIVE, None),
]


@pytest.mark.parametrize(("path", "code", "wait"), FAILURES)
async def test_a_failure_has_its_code_and_its_site(
    expander: ChildExpander, site: Site, tmp_path: Path, path: str, code: Code, wait: float | None
) -> None:
    error = await read(expander, site.base + path, tmp_path)
    assert isinstance(error, StembusError), skipped(error)
    assert (error.code, error.site) == (code, "127.0.0.1")
    assert isinstance(error, TerminalError) is (wait is None)
    if isinstance(error, RetryableError):
        assert error.retry_after == wait


class Drip:
    """Serves a list that comes byte by byte, for ever."""

    def __init__(self) -> None:
        #: Set while nobody reads it.
        self.left = asyncio.Event()
        self.left.set()

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.left.clear()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/x-mpegurl\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.left.set()


async def test_a_playlist_that_does_not_come_to_an_end_is_given_up(
    config: DownloaderConfig, tmp_path: Path
) -> None:
    hurried = msgspec.structs.replace(config, expand_seconds=5.0)
    expander = ChildExpander(config=hurried, on_line=lambda _: None)
    before, drip = children_of(os.getpid()), Drip()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await read(expander, f"http://LOCALHOST:{port}/drip.m3u", tmp_path)
        assert isinstance(error, RetryableError)
        assert (error.code, error.site) == (Code.SOURCE_STALLED, "localhost")
        assert "5 s" in error.detail
        await asyncio.wait_for(drip.left.wait(), 5)
    assert children_of(os.getpid()) == before


async def test_a_cancelled_reading_is_gone_within_two_seconds(
    expander: ChildExpander, publish: Callable[[str, str], str], tmp_path: Path
) -> None:
    url = publish("any.xml", feed("https://example.org/0.mp3"))
    before = children_of(os.getpid())
    task = asyncio.create_task(read(expander, url, tmp_path))
    async with asyncio.timeout(5):
        while children_of(os.getpid()) == before:  # noqa: ASYNC110 - nothing tells of a child
            await asyncio.sleep(0.01)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 2
    assert children_of(os.getpid()) == before


class Ydl:
    """A site of which only the answers are known."""

    answers: tuple[dict[str, Any] | None, ...] = ()

    def __init__(self, *_: object, **__: object) -> None:
        self._answers = iter(self.answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def extract_info(self, *_: object, **__: object) -> dict[str, Any] | None:
        return next(self._answers)

    def lists(self, key: object) -> bool:
        return key == "YoutubeTab"


Said = Found | Missed | Rest | Read


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Said]]:
    """What is reported of a site that answers so."""
    monkeypatch.setattr(playlist_module, "BoundedYoutubeDL", Ydl)

    def run(*answers: dict[str, Any] | None, limit: int = 3) -> list[Said]:
        monkeypatch.setattr(Ydl, "answers", answers)
        request = ExpandRequest(
            url="https://e.org/list",
            limit=limit,
            allow_networks=(),
            max_seconds=3600.0,
            socket_timeout=1.0,
        )
        said: list[Any] = []
        guard = Guard(allow=(), programs=frozenset())
        PlaylistRead(request=request, guard=guard, report=said.append).run()
        return said

    return run


def entry(number: int) -> dict[str, Any]:
    return {"_type": "url", "url": f"https://e.org/{number}", "title": f"Song {number}"}


def kinds(said: Iterable[Said]) -> list[str]:
    return [type(one).__name__ for one in said]


def test_a_playlist_without_an_end_is_left_at_the_limit(
    reading: Callable[..., list[Said]],
) -> None:
    endless = map(entry, itertools.count())
    said = reading({"_type": "playlist", "entries": endless, "title": "Radio"})
    assert kinds(said) == ["Found"] * 3 + ["Missed"] * SKIPPED_LISTED + ["Rest", "Read"]
    assert said[-1] == Read(title="Radio")


def test_a_playlist_of_nothing_without_an_end_is_left_as_well(
    reading: Callable[..., list[Said]],
) -> None:
    said = reading({"_type": "playlist", "entries": itertools.repeat(None)})
    assert kinds(said[-2:]) == ["Rest", "Read"]
    assert len(said) < 6000


def test_pages_are_asked_for_one_by_one(reading: Callable[..., list[Said]]) -> None:
    asked: list[int] = []

    def page(number: int) -> Iterable[dict[str, Any]]:
        asked.append(number)
        return map(entry, range(number * 20, number * 20 + 20))

    entries = OnDemandPagedList(page, 20)
    said = reading({"_type": "playlist", "entries": entries, "playlist_count": 1000}, limit=30)
    assert sorted(set(asked)) == [0, 1, 2, 3, 4]
    assert said[-2] == Rest(problem=said[-2].problem, count=1000 - 80)  # type: ignore[union-attr] # it is a Rest


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ExtractorError("Login required", expected=True), Code.SOURCE_REFUSED),
        (TerminalError(Code.SOURCE_TOO_LARGE, "pages without an end"), Code.SOURCE_TOO_LARGE),
    ],
)
def test_what_has_been_read_is_kept_where_the_rest_can_t_be_had(
    reading: Callable[..., list[Said]], failure: Exception, code: Code
) -> None:
    def entries() -> Iterable[dict[str, Any]]:
        yield entry(1)
        raise failure

    said = reading({"_type": "playlist", "entries": entries()})
    assert kinds(said) == ["Found", "Rest", "Read"]
    assert isinstance(said[1], Rest)
    assert (said[1].problem.code, said[1].count) == (code, None)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ExtractorError("Too Many Requests", expected=True), Code.SOURCE_RATE_LIMITED),
        (KeyError("contents"), Code.SOURCE_UNAVAILABLE),
    ],
)
def test_what_may_be_had_later_is_read_again_from_the_start(
    reading: Callable[..., list[Said]], failure: Exception, code: Code
) -> None:
    def entries() -> Iterable[dict[str, Any]]:
        yield entry(1)
        raise failure

    with pytest.raises(RetryableError) as caught:
        reading({"_type": "playlist", "entries": entries()})
    assert caught.value.code is code


def test_lists_within_a_list_are_read_to_a_depth(reading: Callable[..., list[Said]]) -> None:
    deepest = {"_type": "playlist", "entries": [entry(3)]}
    deeper = {"_type": "playlist", "entries": [entry(2), deepest]}
    deep = {"_type": "playlist", "entries": [entry(1), deeper]}
    said = reading({"_type": "playlist", "entries": [deep, entry(4)]}, limit=9)
    assert [one.title for one in said if isinstance(one, Found)] == ["Song 1", "Song 2", "Song 4"]
    assert kinds(said).count("Missed") == 1


def test_a_channel_s_tabs_are_no_songs(reading: Callable[..., list[Said]]) -> None:
    tab = {"_type": "url", "url": "https://e.org/videos", "ie_key": "YoutubeTab"}
    said = reading({"_type": "playlist", "entries": [tab]})
    assert isinstance(said[0], Missed)
    assert said[0].problem.code is Code.SOURCE_PLAYLIST


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ((None,), Code.SOURCE_NO_MEDIA),
        (({"_type": "playlist", "entries": []},), Code.SOURCE_NO_MEDIA),
        (({"_type": "url", "url": "https://e.org/list"},) * 9, Code.SOURCE_NO_MEDIA),
        (({"_type": "video", "is_live": True},), Code.SOURCE_LIVE),
    ],
)
def test_what_holds_no_song_is_said_so(
    reading: Callable[..., list[Said]], answers: tuple[dict[str, Any] | None, ...], code: Code
) -> None:
    with pytest.raises(TerminalError) as caught:
        reading(*answers)
    assert caught.value.code is code


def test_a_page_that_leads_to_the_playlist_is_followed(
    reading: Callable[..., list[Said]],
) -> None:
    said = reading(
        {"_type": "url", "url": "https://e.org/real"},
        {"_type": "playlist", "entries": [entry(1)], "title": "Real"},
    )
    assert said == [Found(url="https://e.org/1", title="Song 1"), Read(title="Real")]
