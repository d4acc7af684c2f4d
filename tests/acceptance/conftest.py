"""One stack for every test that does not hurt it, a site to fetch from, and songs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import pytest
import torch

from tests.acceptance.api import Api
from tests.support import media
from tests.support.models import save_package, small_htdemucs
from tests.support.site import Site, running_site
from tests.support.stack import RunningStack, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

#: Largest upload that the shared stack takes.
MAX_UPLOAD_BYTES = 24 << 20


class Songs(NamedTuple):
    """A folder of songs, which the site serves under ``/media/``."""

    folder: Path
    site: Site

    def url(self, name: str) -> str:
        """The address of a song."""
        return f"{self.site.base}/media/{name}"

    def path(self, name: str) -> Path:
        """The file of a song."""
        return self.folder / name


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real, random HTDemucs: ``tiny``."""
    folder = tmp_path_factory.mktemp("models")
    save_package(small_htdemucs(), folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Songs]:
    folder = tmp_path_factory.mktemp("songs")
    media.write_audio(folder / "song.mp3", media.song(3), tags={"title": "A song"})
    with running_site(folder) as site:
        yield Songs(folder, site)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[RunningStack]:
    """The stack that all tests share that leave it as it is."""
    data = tmp_path_factory.mktemp("stack")
    settings = {"STEMBUS_MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES)}
    # Our own reference runs share the machine with the engine: threads that spin would starve it.
    torch.set_num_threads(1)
    with running_stack(data, models=models_dir, settings=settings) as running:
        yield running


@pytest.fixture
async def api(stack: RunningStack) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, stack.url)
