"""``kill -9`` of anything in the middle of a job: the job completes, once, with right stems."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest

from tests.acceptance.api import Api, endings, separating
from tests.acceptance.gate import gated
from tests.acceptance.listening import hear
from tests.support import media
from tests.support.audio import song
from tests.support.overhearing import overhearing
from tests.support.stack import eventually, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.acceptance.api import Event, Json
    from tests.support.stack import RunningStack

#: Small chunks, so that there is a middle.
SETTINGS = {"STEMBUS_WINDOWS_PER_CHUNK": "1"}


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song of six chunks."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    return media.write_audio(path, song(50).mix.T)


@pytest.fixture(scope="module")
def killed_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of our own: one after the other of its processes is killed."""
    with running_stack(tmp_path_factory.mktemp("killed"), settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def api(killed_stack: RunningStack) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, killed_stack.url)


async def assert_completed_once(api: Api, job: Json, path: Path) -> None:
    """The job completed, exactly once, and its stems add up to the song."""
    assert job["status"] == "completed", job["error"]
    assert endings(job) == ["completed"]
    vocals, rest = [hear(await api.stem(job, name)).samples for name in ("vocals", "instrumental")]
    np.testing.assert_allclose(vocals + rest, hear(path).samples, atol=2.0**-21)
    assert np.abs(vocals).max() > 0.01


async def restarted(stack: RunningStack, service: str, killed: int) -> None:
    await eventually(lambda: stack.pids().get(service, killed) != killed, f"{service} runs again")


@pytest.mark.parametrize("service", ["scheduler", "broker"])
async def test_a_job_completes_although_a_process_is_killed_while_it_is_separated(
    service: str, api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    job = await api.submit(long_song)
    await api.until(job["id"], separating)
    killed = killed_stack.kill(service)
    await restarted(killed_stack, service, killed)
    await assert_completed_once(api, await api.ended(job["id"]), long_song)


async def test_a_job_completes_although_the_engine_is_killed(
    api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    job = await api.submit(long_song)
    await api.until(job["id"], separating)
    separator = killed_stack.pids()["separator"]
    os.kill(killed_stack.engine(), signal.SIGKILL)
    ended = await api.ended(job["id"])
    await assert_completed_once(api, ended, long_song)
    assert "trying again" not in str(ended["timeline"])
    assert killed_stack.pids()["separator"] == separator


async def test_jobs_complete_although_both_their_workers_are_killed(
    api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    """Their work is handed out again 30 s later; the live connection is kept up meanwhile."""
    async with gated(long_song) as gate, overhearing(killed_stack.nats_url) as heard:
        downloading = await api.submit(gate.url)
        await gate.reached()
        separated = await api.submit(long_song)
        await api.until(separated["id"], separating)
        await heard.flush()
        finished = heard.done(separated["id"]).keys()
        for service in ("downloader", "separator"):
            killed = killed_stack.kill(service)
            await restarted(killed_stack, service, killed)
        gate.open.set()
        stream = await api.ask("GET", f"/v1/jobs/{downloading['id']}/events")
        assert b"\n\n: still here\n\n" in stream.body
        for job in (downloading, separated):
            await assert_completed_once(api, await api.ended(job["id"]), long_song)
        done = heard.done(separated["id"])
        assert finished
        assert {unit: len(done[unit]) for unit in finished} == dict.fromkeys(finished, 1)
        # What was interrupted comes again as it was ordered: nothing is ordered anew.
        assert {len(attempts) for attempts in heard.orders(separated["id"]).values()} == {1}
        assert heard.computed_after_done(separated["id"]) == []


async def test_a_job_completes_although_the_downloads_child_is_killed(
    api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    async with gated(long_song) as gate:
        job = await api.submit(gate.url)
        await gate.reached()
        for child in killed_stack.children("downloader"):
            os.kill(child, signal.SIGKILL)
        gate.open.set()
        await assert_completed_once(api, await api.ended(job["id"]), long_song)


async def test_a_job_that_was_accepted_is_kept_although_its_keepers_are_killed_at_once(
    api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    job = await api.submit(long_song)
    for service in ("broker", "scheduler", "gateway"):
        killed_stack.kill(service)
    await assert_completed_once(api, await api.ended(job["id"]), long_song)


async def test_a_client_that_comes_back_after_the_gateway_was_killed_misses_nothing(
    api: Api, killed_stack: RunningStack, long_song: Path
) -> None:
    job = await api.submit(long_song)
    seen: list[Event] = []
    killed = 0
    async with aclosing(api.follow(job["id"])) as events:
        async for event in events:
            seen.append(event)
            if separating(event) and not killed:
                killed = killed_stack.kill("gateway")
    assert killed not in killed_stack.pids().values()
    ids = [event.id for event in seen if event.id is not None]
    assert ids == sorted(set(ids))
    progress = [event.data["progress"] for event in seen]
    assert progress == sorted(progress)
    await assert_completed_once(api, seen[-1].data, long_song)
