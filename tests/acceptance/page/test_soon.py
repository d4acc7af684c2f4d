"""A person listens to a song while it is still being taken apart."""

from __future__ import annotations

import re
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.acceptance.api import Api
from tests.acceptance.listening import hear
from tests.acceptance.page.visitor import PATIENCE, Visitor
from tests.support import audio, media
from tests.support.processes import freeze, thaw
from tests.support.stack import RunningStack, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser, Locator

    from tests.acceptance.api import Json

pytestmark = pytest.mark.asyncio(loop_scope="package")

TITLE = "Not done yet"
#: Ten pieces, of one window each.
SECONDS = 90.0


@pytest.fixture(scope="module")
def slow(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that cuts songs into the smallest chunks there are."""
    del browser
    settings = {"STEMBUS_WINDOWS_PER_CHUNK": "1"}
    with running_stack(tmp_path_factory.mktemp("soon"), settings=settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def listener(browser: Browser, slow: RunningStack) -> AsyncIterator[Visitor]:
    """Somebody on its page, who complains about nothing but pieces that are swept away."""
    context = await browser.new_context()
    visitor = Visitor(await context.new_page(), slow.url)
    # The last pieces that were asked for may go the moment the job completes.
    visitor.expect_complaint("/pieces/")
    await visitor.arrive()
    yield visitor
    await context.close()
    assert visitor.unexpected == []


def song(folder: Path, seed: int) -> Path:
    mix = audio.song(SECONDS, seed=seed).mix.T
    return media.write_audio(
        folder / f"soon-{seed}.mp3", mix, tags={"title": TITLE, "artist": "The Testers"}
    )


@contextmanager
def held(stack: RunningStack) -> Iterator[None]:
    """Whatever computes stands still; its service goes on saying that it is there."""
    children = stack.children("separator")
    for child in children:
        freeze(child)
    try:
        yield
    finally:
        for child in children:
            thaw(child)


def pieces_of(job: Json) -> int:
    return int((job.get("separation") or {}).get("pieces_ready", 0))


async def listening(visitor: Visitor) -> Locator:
    """Press "listen" and "play"; the player that sounds."""
    button = visitor.card(TITLE).get_by_test_id("open-player")
    await expect(button).to_have_text("Listen to what is ready")
    await button.click()
    player = visitor.card(TITLE).get_by_test_id("player")
    await expect(player).to_have_attribute("data-state", "ready", timeout=PATIENCE)
    await player.get_by_test_id("play").click()
    await visitor.probe("sounding()")
    return player


async def test_a_song_is_heard_before_it_is_done_and_goes_on_into_its_finished_stems(
    listener: Visitor, slow: RunningStack, tmp_path: Path
) -> None:
    await listener.choose(song(tmp_path, 1))
    card = await listener.status(TITLE, "processing")
    await expect(card.get_by_test_id("open-player")).to_be_visible(timeout=PATIENCE)
    with held(slow):
        player = await listening(listener)
        await expect(player).to_have_attribute("data-engine", "pieces")
        ready = float(await player.get_attribute("data-ready") or 0)
        assert 0 < ready < SECONDS
        await expect(player.get_by_test_id("growth")).to_contain_text("can be heard already")
        # At the end of what is ready it waits, and says so.
        await player.get_by_test_id("seek").fill(str(ready - 0.5))
        await expect(player).to_have_attribute("data-stalled", "", timeout=PATIENCE)
        await expect(player).to_have_attribute("data-position", f"{ready:.2f}")
        await expect(player.get_by_test_id("player-note")).to_contain_text("Waiting")
        await listener.probe("silent()")
        # Beyond it there is nothing to go to.
        await player.get_by_test_id("seek").fill("80")
        await expect(player).to_have_attribute("data-position", f"{ready:.2f}")
        await expect(card).to_have_attribute("data-status", "processing")
        vocals = player.locator("[data-stem=vocals]")
        await vocals.get_by_test_id("mute").click()
        await expect(player).to_have_attribute("data-state", "playing")
    # It goes on by itself, over the border, and then with the finished stems from there.
    await listener.probe("sounding()")
    await expect(player).to_have_attribute("data-engine", "buffer", timeout=PATIENCE)
    await listener.status(TITLE, "completed")
    await expect(player).to_have_attribute("data-state", "playing")
    await listener.probe("sounding()")
    positions = await listener.probe("positions")
    moments = (await listener.probe("moments"))[: len(positions)]
    border = positions.index(ready)
    after = positions[border:]
    assert after == sorted(after)
    # It runs on with the clock and leaps over nothing, however seldom it is shown.
    shown = list(zip(after, moments[border:], strict=True))
    leaps = [(b - a) - (then - now) for (a, now), (b, then) in pairwise(shown)]
    assert max(leaps) < 0.5
    await expect(vocals).to_have_attribute("data-heard", "false")
    await expect(vocals.get_by_test_id("mute")).to_have_attribute("aria-pressed", "true")
    await expect(player.get_by_test_id("download")).to_have_count(2)
    await expect(player.get_by_test_id("growth")).to_have_count(0)
    await expect(player.get_by_test_id("player-note")).to_contain_text("is done")


async def test_a_player_that_is_paused_keeps_its_place_when_the_song_is_done(
    listener: Visitor, slow: RunningStack, tmp_path: Path
) -> None:
    await listener.choose(song(tmp_path, 2))
    card = listener.card(TITLE).first
    await expect(card.get_by_text("Listen to what is ready")).to_be_visible(timeout=PATIENCE)
    with held(slow):
        await card.get_by_test_id("open-player").click()
        player = card.get_by_test_id("player")
        await expect(player).to_have_attribute("data-state", "ready", timeout=PATIENCE)
        await player.get_by_test_id("seek").fill("3.25")
        await expect(player).to_have_attribute("data-position", "3.25")
    await expect(player).to_have_attribute("data-engine", "buffer", timeout=PATIENCE)
    await expect(player).to_have_attribute("data-position", "3.25")
    await player.get_by_test_id("play").click()
    await expect(player).to_have_attribute("data-position", re.compile(r"^(3\.[3-9]|4)"))


async def test_a_song_that_is_cancelled_closes_its_player(
    listener: Visitor, slow: RunningStack, tmp_path: Path
) -> None:
    await listener.choose(song(tmp_path, 3))
    card = listener.card(TITLE).first
    await expect(card.get_by_text("Listen to what is ready")).to_be_visible(timeout=PATIENCE)
    with held(slow):
        await card.get_by_test_id("open-player").click()
        await expect(card.get_by_test_id("player")).to_be_visible()
        await card.get_by_test_id("cancel").click()
        await expect(card.get_by_test_id("player")).to_have_count(0)


async def test_who_asks_for_the_same_song_sees_and_hears_it_being_made(
    listener: Visitor, slow: RunningStack, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession() as session:
        api = Api(session, slow.url)
        path = song(tmp_path, 5)
        leader = await api.submit(path, reuse=True)
        await api.until(leader["id"], lambda event: pieces_of(event.data) >= 1)
        with held(slow):
            twin = await api.submit(path, reuse=True)
            follows = await api.until(twin["id"], lambda event: bool(event.data.get("follows")))
            assert follows.data["follows"] == leader["id"]
            seen = await api.job(twin["id"])
            assert seen["status"] == "pending"
            listed = (await api.ask("GET", f"/v1/jobs/{twin['id']}/pieces")).json
            assert len(listed["pieces"]) == pieces_of(seen)
            assert (seen["phase"], pieces_of(seen) >= 1) == ("separation", True)
            assert seen["progress"] > 0
            pieces = [
                (await api.ask("GET", f"/v1/jobs/{job['id']}/pieces/0/vocals.wav")).body
                for job in (leader, twin)
            ]
            assert pieces[0] == pieces[1]
            assert len(pieces[0]) > 100_000
            card = listener.page.locator(f"[data-job-id='{twin['id']}']")
            await expect(card).to_contain_text("Already being made")
            await expect(card.get_by_test_id("progress")).to_be_visible()
            await card.get_by_test_id("open-player").click()
            player = card.get_by_test_id("player")
            await expect(player).to_have_attribute("data-state", "ready", timeout=PATIENCE)
            await player.get_by_test_id("play").click()
            await listener.probe("sounding()")
        moved = [event async for event in api.follow(twin["id"])]
        assert any(event.kind == "progress" for event in moved)
        await expect(card).to_have_attribute("data-status", "completed", timeout=PATIENCE)
        await expect(player).to_have_attribute("data-engine", "buffer", timeout=PATIENCE)
        assert moved[-1].data["result"] == (await api.job(leader["id"]))["result"]


async def test_pieces_are_the_finished_stems(slow: RunningStack, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        api = Api(session, slow.url)
        job = await api.submit(song(tmp_path, 4), format="wav")
        job = (await api.until(job["id"], lambda event: pieces_of(event.data) >= 2)).data
        heard = {}
        with held(slow):
            listed = (await api.ask("GET", f"/v1/jobs/{job['id']}/pieces")).json
            assert (listed["count"], listed["complete"]) == (10, False)
            for stem in listed["stems"]:
                for piece in (0, 1):
                    path = f"/v1/jobs/{job['id']}/pieces/{piece}/{stem}.wav"
                    answer = await api.ask("GET", path)
                    assert answer.status == 200, answer.body
                    heard[stem, piece] = hear(answer.body).samples
        done = await api.ended(job["id"])
        assert done["status"] == "completed"
        for stem in listed["stems"]:
            whole = hear(await api.stem(done, stem)).samples
            joined = np.concatenate([heard[stem, 0], heard[stem, 1]])
            np.testing.assert_allclose(joined, whole[: len(joined)], atol=1.01 / 32_768)
        gone = await api.problem("GET", f"/v1/jobs/{job['id']}/pieces/0/vocals.wav")
        assert gone["code"] == "piece.not_ready"
        listed = (await api.ask("GET", f"/v1/jobs/{job['id']}/pieces")).json
        assert (listed["pieces"], listed["complete"]) == ([], True)
