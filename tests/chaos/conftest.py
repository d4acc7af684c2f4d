"""A stack with a standby scheduler, for tests that hurt it in one way and look closely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.acceptance.api import Api
from tests.chaos.observer import Observer, observing
from tests.chaos.songs import SETTINGS
from tests.support import media
from tests.support.audio import song
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One for a module: whatever is done to it, it has to recover."""
    data = tmp_path_factory.mktemp("standby")
    with running_stack(data, settings=SETTINGS, schedulers=2) as running:
        yield running


@pytest.fixture
async def api(stack: RunningStack) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, stack.url)


@pytest.fixture
async def observer(stack: RunningStack) -> AsyncIterator[Observer]:
    async with observing(stack.nats_url) as listening:
        yield listening


@pytest.fixture(scope="session")
def short_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of music."""
    return media.write_audio(tmp_path_factory.mktemp("short") / "short.flac", song(1).mix.T)


@pytest.fixture(scope="session")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song of three chunks."""
    return media.write_audio(tmp_path_factory.mktemp("long") / "long.flac", song(28).mix.T)
