"""Calling jobs off, and taking them up again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.acceptance.api import Api, endings, separating
from tests.acceptance.gate import gated
from tests.support import media
from tests.support.audio import song
from tests.support.processes import ends_within, freeze, thaw
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack

#: Seconds within which a running job stops, by promise.
PROMPT = 2.0
#: Small chunks, and one download at a time.
SETTINGS = {"STEMBUS_WINDOWS_PER_CHUNK": "1", "STEMBUS_DOWNLOAD_SLOTS": "1"}


@pytest.fixture(scope="module")
def narrow_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("narrow"), settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def api(narrow_stack: RunningStack) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, narrow_stack.url)


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.flac"
    return media.write_audio(path, song(50).mix.T)


@pytest.mark.promise
async def test_a_waiting_job_ends_at_once_and_a_running_download_frees_its_slot(
    api: Api, narrow_stack: RunningStack, songs: Songs
) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        running = await api.submit(gate.url)
        await gate.reached()
        waiting = await api.submit(songs.url("song.mp3"))
        third = await api.submit(songs.url("song.mp3"))
        assert (await api.job(waiting["id"]))["status"] == "pending"
        cancelled = await api.order(waiting["id"], "cancel")
        assert cancelled["status"] == "cancelled"

        children = narrow_stack.children("downloader")
        assert children
        assert (await api.order(running["id"], "cancel"))["status"] == "cancelled"
        assert all(ends_within(child, PROMPT) for child in children)
        assert (await api.ended(third["id"]))["status"] == "completed"
    for job in (waiting, running):
        assert endings(await api.job(job["id"])) == ["cancelled"]


@pytest.mark.promise
async def test_a_running_separation_stops_within_two_seconds_and_leaves_nothing(
    api: Api, narrow_stack: RunningStack, long_song: Path, songs: Songs
) -> None:
    job = await api.submit(long_song)
    await api.until(job["id"], separating)
    # The worst case: an engine that hangs.  One that does not is left warm.
    engine = narrow_stack.engine()
    freeze(engine)
    assert (await api.order(job["id"], "cancel"))["status"] == "cancelled"
    assert await asyncio.to_thread(ends_within, engine, PROMPT)
    await api.finished(songs.path("song.mp3"))
    assert (await api.job(job["id"]))["status"] == "cancelled"
    assert not list((narrow_stack.data / "blobs" / "work" / job["id"]).glob("*/*"))


async def test_cancelling_again_is_no_error(api: Api, long_song: Path) -> None:
    job = await api.submit(long_song)
    answers = [await api.order(job["id"], "cancel") for _ in range(2)]
    assert [answer["status"] for answer in answers] == ["cancelled"] * 2
    assert endings(answers[-1]) == ["cancelled"]


async def test_a_cancelled_job_completes_after_a_retry(
    api: Api, narrow_stack: RunningStack, long_song: Path
) -> None:
    job = await api.submit(long_song)
    await api.until(job["id"], separating)
    engine = narrow_stack.engine()
    freeze(engine)  # so that it is not done before it is called off
    try:
        before = await api.order(job["id"], "cancel")
    finally:
        thaw(engine)
    after = await api.order(job["id"], "retry")
    assert after["status"] in {"pending", "processing"}
    assert after["progress"] >= 30  # the download is not done again
    assert after["phase"] == before["phase"]
    ended = await api.ended(job["id"])
    assert endings(ended) == ["cancelled", "completed"]
    assert [stem["name"] for stem in ended["stems"]] == ["vocals", "instrumental"]


async def test_a_failed_job_completes_after_a_retry_once_its_cause_is_gone(
    api: Api, songs: Songs
) -> None:
    job = await api.submit(songs.url("late.mp3"))
    failed = await api.ended(job["id"])
    assert failed["error"]["code"] == "source.not_found"
    media.write_audio(songs.path("late.mp3"), media.song(1))
    await api.order(job["id"], "retry")
    ended = await api.ended(job["id"])
    assert endings(ended) == ["failed", "completed"]
    assert ended["error"] is None
