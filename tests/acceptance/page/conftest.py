"""A stack of the page's own, because it gets hurt; one browser; a visitor for each test."""

from __future__ import annotations

import os
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from tests.acceptance.api import Api
from tests.acceptance.page.line import held_song
from tests.acceptance.page.visitor import PATIENCE, Visitor
from tests.support import audio, media
from tests.support.stack import RunningStack, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from playwright.async_api import Browser


#: Quiet, and without asking anybody on the network for anything.
CHROMIUM_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
#: ``required`` makes a missing browser a failure.
BROWSER_VARIABLE: Final = "STEMBUS_TEST_BROWSER"
SECONDS: Final = 8.0
#: Songs that are worked on at once: few, so that the others can be seen waiting.
PLACES: Final = 2


class MakeSong(Protocol):
    """Makes files of songs."""

    def __call__(self, title: str, seed: int = 0, seconds: float = SECONDS) -> Path:
        """An MP3 with this title; another seed is another song, which takes its time again."""


class Visit(Protocol):
    """Sends somebody to the page."""

    async def __call__(self) -> Visitor:
        """A visitor whose page is live."""


class Busy(Protocol):
    """Keeps the stack busy."""

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """Every place is taken by a song that goes on only when this is left."""


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, as the system has it: nothing is downloaded for a test."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        why = "there is no chromium on the PATH"
        if os.environ.get(BROWSER_VARIABLE) == "required":
            pytest.fail(f"{why}, and {BROWSER_VARIABLE}=required")
        pytest.skip(why)
    # What is expected comes about in its own time; the default would be 5 s.
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=path, args=list(CHROMIUM_ARGUMENTS)
        )
        yield chromium
        await chromium.close()


@pytest.fixture(scope="package")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The stack behind the page; not even started where there is no browser."""
    del browser
    settings = {"STEMBUS_MAX_PROCESSING": str(PLACES)}
    with running_stack(tmp_path_factory.mktemp("page"), settings=settings) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def api(stack: RunningStack) -> AsyncIterator[Api]:
    """The same gateway without a browser between."""
    async with aiohttp.ClientSession() as session:
        yield Api(session, stack.url)


@pytest_asyncio.fixture(loop_scope="package")
async def visit(browser: Browser, stack: RunningStack) -> AsyncIterator[Visit]:
    """Sends visitors; afterwards none of them may have had an unexpected complaint."""
    visitors: list[Visitor] = []
    contexts = []

    async def send() -> Visitor:
        context = await browser.new_context()
        contexts.append(context)
        visitor = Visitor(await context.new_page(), stack.url)
        visitors.append(visitor)
        await visitor.arrive()
        return visitor

    yield send
    for context in contexts:
        await context.close()
    assert [said for visitor in visitors for said in visitor.unexpected] == []


@pytest.fixture(scope="package")
def make_song(tmp_path_factory: pytest.TempPathFactory) -> MakeSong:
    """Songs that are the same each time."""
    folder = tmp_path_factory.mktemp("songs")

    mix = cache(lambda seed, seconds: audio.song(seconds, seed=seed).mix.T)

    def make(title: str, seed: int = 0, seconds: float = SECONDS) -> Path:
        path = folder / f"song-{seed}.mp3"
        tags = {"title": title, "artist": "The Testers"}
        return media.write_audio(path, mix(seed, seconds), tags=tags)

    return make


@pytest.fixture
def busy(api: Api, make_song: MakeSong) -> Busy:
    """Holds songs back in the middle of their download."""
    song = make_song("Held back").read_bytes()

    @asynccontextmanager
    async def occupy() -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            jobs = []
            for number in range(PLACES):
                site = await held.enter_async_context(held_song(song, f"held-back-{number}.mp3"))
                jobs.append(await api.submit(site.url))
            for job in jobs:
                await api.until(job["id"], lambda event: event.status == "processing")
            try:
                yield
            finally:
                for job in jobs:
                    await api.order(job["id"], "cancel")

    return occupy
