"""A web site with media on it, and a downloader's parts pointed at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.downloader.children import ChildDecoder, ChildExpander, ChildFetcher
from services.downloader.config import DownloaderConfig
from tests.support.media import picture, song, write_audio, write_bytes, write_hls
from tests.support.site import Site, running_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What the fixtures' fetcher may download at most.
MAX_BYTES = 2_000_000


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the site serves as ``/media/``."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def site(media: Path) -> Iterator[Site]:
    """A site with ``song.mp3`` (2 s), ``b.mp3``, ``big.wav`` (3.5 MB), ``cover.jpg``, ``hls/…``."""
    folder = media
    write_audio(folder / "song.mp3", song(2.0), tags={"title": "Tag", "artist": "Tagged"})
    write_audio(folder / "b.mp3", song(1.0))
    write_audio(folder / "big.wav", song(20.0))
    write_bytes(folder / "cover.jpg", picture())
    write_hls(folder / "hls", song(8.0))
    with running_site(folder) as site:
        yield site


@pytest.fixture
def config(tmp_path: Path) -> DownloaderConfig:
    """Loopback allowed, limits small."""
    return DownloaderConfig(
        allow_networks=("127.0.0.1/32",),
        scratch_dir=str(tmp_path / "scratch"),
        max_source_bytes=MAX_BYTES,
        # Long: other tests may have the processors meanwhile.
        fetch_silence_seconds=45.0,
    )


@pytest.fixture
def lines() -> list[str]:
    """What the children print."""
    return []


@pytest.fixture
def fetcher(config: DownloaderConfig, lines: list[str]) -> ChildFetcher:
    return ChildFetcher(config=config, on_line=lines.append)


@pytest.fixture
def decoder(config: DownloaderConfig, lines: list[str]) -> ChildDecoder:
    return ChildDecoder(config=config, on_line=lines.append)


@pytest.fixture
def expander(config: DownloaderConfig, lines: list[str]) -> ChildExpander:
    return ChildExpander(config=config, on_line=lines.append)
