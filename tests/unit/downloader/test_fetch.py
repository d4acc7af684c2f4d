"""Real downloads by real children from a real site."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from services.downloader.children import ChildFetcher
from shared.child import ROOT
from shared.errors import Code, RetryableError, StembusError, TerminalError
from tests.support.processes import children_of, ends_within
from tests.unit.downloader.conftest import MAX_BYTES

if TYPE_CHECKING:
    from services.downloader.config import DownloaderConfig
    from tests.support.site import Site

Seen = list[tuple[int, int | None, float | None]]


def disk_use(folder: Path) -> int:
    """Bytes of all files in ``folder``."""
    return sum(file.stat().st_size for file in folder.iterdir())


async def outcome(
    fetcher: ChildFetcher, url: str, folder: Path, seen: Seen | None = None
) -> StembusError | str:
    """The error, or the name of the file that was fetched."""
    heard: Seen = [] if seen is None else seen
    try:
        fetched = await fetcher.fetch(url, folder=folder, moving=lambda *said: heard.append(said))
    except StembusError as exc:
        return exc
    return fetched.name


async def test_a_plain_file_comes_as_it_is(
    fetcher: ChildFetcher, site: Site, tmp_path: Path
) -> None:
    seen: Seen = []
    fetched = await fetcher.fetch(
        f"{site.base}/media/song.mp3", folder=tmp_path, moving=lambda *said: seen.append(said)
    )
    data = (tmp_path / fetched.name).read_bytes()
    assert fetched.name == "source.mp3"
    assert fetched.metadata.title == "song"
    assert fetched.metadata.extractor == "Generic"
    assert seen[-1][:2] == (len(data), len(data))
    assert data[:3] == b"ID3"


async def test_an_hls_playlist_comes_in_fragments(
    fetcher: ChildFetcher, site: Site, tmp_path: Path
) -> None:
    seen: Seen = []
    name = await outcome(fetcher, f"{site.base}/media/hls/playlist.m3u8", tmp_path, seen)
    assert name == "source.mp4"
    received = [said[0] for said in seen]
    assert received == sorted(received)
    assert received[-1] == (tmp_path / "source.mp4").stat().st_size
    assert all(total is None or bytes_ <= total for bytes_, total, _ in seen)


async def test_a_page_with_one_song_is_that_song(
    fetcher: ChildFetcher, site: Site, tmp_path: Path
) -> None:
    assert await outcome(fetcher, f"{site.base}/song.html", tmp_path) == "source.mp3"


#: Path on the site, code, whether retryable, seconds to wait.
FAILURES = [
    ("/empty.html", Code.SOURCE_NO_MEDIA, None),
    ("/songs.html", Code.SOURCE_PLAYLIST, None),
    ("/internal.html", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=http://192.168.0.1/x.mp3", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=http://169.254.169.254/latest/", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=http://0.0.0.0:1/", Code.SOURCE_FORBIDDEN_ADDRESS, None),
    ("/redirect?to=file:///etc/passwd", Code.SOURCE_SCHEME, None),
    ("/live.m3u8", Code.SOURCE_LIVE, None),
    ("/status/403", Code.SOURCE_REFUSED, None),
    ("/status/404", Code.SOURCE_NOT_FOUND, None),
    ("/status/410", Code.SOURCE_NOT_FOUND, None),
    ("/status/451", Code.SOURCE_UNAVAILABLE, None),
    ("/media/big.wav", Code.SOURCE_TOO_LARGE, None),
    ("/endless.mp3", Code.SOURCE_TOO_LARGE, None),
    ("/endless.html", Code.SOURCE_TOO_LARGE, None),
    ("/status/429?after=7", Code.SOURCE_RATE_LIMITED, 7.0),
    ("/status/503?after=9", Code.SOURCE_UNREACHABLE, 9.0),
]


@pytest.mark.parametrize(("path", "code", "wait"), FAILURES)
async def test_a_failure_has_its_code(
    fetcher: ChildFetcher, site: Site, tmp_path: Path, path: str, code: Code, wait: float | None
) -> None:
    error = await outcome(fetcher, site.base + path, tmp_path)
    assert isinstance(error, StembusError)
    assert (error.code, error.site) == (code, "127.0.0.1")
    assert isinstance(error, TerminalError) is (wait is None)
    if isinstance(error, RetryableError):
        assert error.retry_after == wait
    # Whatever came of it, no more than allowed lies on the disk.
    assert disk_use(tmp_path) <= MAX_BYTES


async def test_a_name_that_leads_inwards_is_refused(
    site: Site, config: DownloaderConfig, tmp_path: Path
) -> None:
    closed = msgspec.structs.replace(config, allow_networks=())
    fetcher = ChildFetcher(config=closed, on_line=lambda _: None)
    port = site.base.rpartition(":")[2]
    before = len(site.asked)
    error = await outcome(fetcher, f"http://localhost:{port}/media/song.mp3", tmp_path)
    assert isinstance(error, TerminalError)
    assert error.code is Code.SOURCE_FORBIDDEN_ADDRESS
    assert len(site.asked) == before


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.mp3", "http://no-such-host.invalid/a.mp3"])
async def test_a_site_that_does_not_answer_may_do_so_later(
    fetcher: ChildFetcher, tmp_path: Path, url: str
) -> None:
    error = await outcome(fetcher, url, tmp_path)
    assert isinstance(error, RetryableError)
    assert error.code is Code.SOURCE_UNREACHABLE


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.youtube.com/watch?v=aaaaaaaaaaa", "Youtube"),
        ("https://www.youtube.com/playlist?list=PLaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Youtube"),
        ("https://soundcloud.com/a/sets/b", "Soundcloud"),
    ],
)
async def test_a_site_that_has_an_extractor_bears_its_name(
    config: DownloaderConfig, tmp_path: Path, url: str, site: str
) -> None:
    """Whether its name resolves here or not, it does not get through."""
    cut_off = msgspec.structs.replace(config, socket_timeout=0.2)
    error = await outcome(ChildFetcher(config=cut_off, on_line=lambda _: None), url, tmp_path)
    assert isinstance(error, StembusError)
    assert (error.code.value.split(".")[0], error.site) == ("source", site)


async def test_fragments_together_are_held_to_the_limit(
    site: Site, config: DownloaderConfig, tmp_path: Path
) -> None:
    # Each fragment is about 35 kB, all of them about 140.
    small = msgspec.structs.replace(config, max_source_bytes=80_000)
    fetcher = ChildFetcher(config=small, on_line=lambda _: None)
    error = await outcome(fetcher, f"{site.base}/media/hls/playlist.m3u8", tmp_path)
    assert isinstance(error, TerminalError)
    assert error.code is Code.SOURCE_TOO_LARGE


async def test_a_download_that_stops_moving_is_killed(
    site: Site, config: DownloaderConfig, tmp_path: Path
) -> None:
    impatient = msgspec.structs.replace(config, fetch_silence_seconds=3.0)
    fetcher = ChildFetcher(config=impatient, on_line=lambda _: None)
    before = children_of(os.getpid())
    error = await outcome(fetcher, f"{site.base}/stall.mp3", tmp_path)
    assert isinstance(error, RetryableError)
    assert (error.code, error.site) == (Code.SOURCE_STALLED, "127.0.0.1")
    assert children_of(os.getpid()) == before


async def test_a_cancelled_download_is_gone_within_two_seconds(
    fetcher: ChildFetcher, site: Site, tmp_path: Path
) -> None:
    site.stalling.clear()
    before = children_of(os.getpid())
    task = asyncio.create_task(outcome(fetcher, f"{site.base}/stall.mp3", tmp_path))
    assert await asyncio.to_thread(site.stalling.wait, 20)
    assert len(children_of(os.getpid()) - before) == 1
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 2
    assert children_of(os.getpid()) == before


async def test_a_download_ends_with_its_parent(site: Site, tmp_path: Path) -> None:
    site.stalling.clear()
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from services.downloader.children import ChildFetcher\n"
        "from services.downloader.config import DownloaderConfig\n"
        "config = DownloaderConfig(allow_networks=('127.0.0.1/32',))\n"
        "fetcher = ChildFetcher(config=config, on_line=print)\n"
        "asyncio.run(fetcher.fetch(sys.argv[1], folder=Path(sys.argv[2]), moving=print))\n"
    )
    url = f"{site.base}/stall.mp3"
    with subprocess.Popen(  # noqa: ASYNC220 - it is there to be killed, not waited for
        [sys.executable, "-c", code, url, str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as parent:
        try:
            assert await asyncio.to_thread(site.stalling.wait, 20)
            (child,) = children_of(parent.pid)
        finally:
            parent.kill()
    assert await asyncio.to_thread(ends_within, child, 5)
