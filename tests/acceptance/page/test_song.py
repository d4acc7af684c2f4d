"""A person gives the page a song, watches it move, plays its stems and takes them home."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.acceptance.listening import hear
from tests.acceptance.page.line import held_song
from tests.acceptance.page.visitor import PATIENCE
from tests.support import media

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Locator

    from tests.acceptance.api import Api
    from tests.acceptance.page.conftest import MakeSong, Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")

STEMS = ["vocals", "instrumental"]
#: Hands a file over as a file manager does.
DROP = """([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer });
        document.body.dispatchEvent(event);
    }
}"""


async def test_a_chosen_file_moves_forward_live_until_it_is_ready(
    visit: Visit, make_song: MakeSong
) -> None:
    visitor = await visit()
    # Several windows long: there is something to be seen on the way.
    await visitor.choose(make_song("Watch me", 5, seconds=60))
    card = await visitor.status("Watch me", "completed")
    job_id = await card.get_attribute("data-job-id")
    moves = [move[1:] for move in await visitor.probe("moves") if move[0] == job_id]
    shares = [share for _, _, share in moves]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert len({share for share in shares if 0 < share < 100}) >= 3
    await expect(card.locator(".facts")).to_contain_text("Model dsp")
    await expect(card.locator(".byline")).to_contain_text("The Testers · 1:00")


async def test_every_phase_of_a_song_is_seen_in_its_order(
    visit: Visit, make_song: MakeSong
) -> None:
    visitor = await visit()
    song = make_song("Phase by phase", 6, seconds=60)
    async with held_song(song.read_bytes(), "phase-by-phase.mp3") as held:
        await visitor.paste(held.url)
        card = visitor.card("phase-by-phase.mp3")
        await expect(card).to_have_attribute("data-phase", "download", timeout=PATIENCE)
        job_id = await card.get_attribute("data-job-id")
        held.release.set()
        await visitor.status("Phase by phase", "completed")
    moves = [move[1:] for move in await visitor.probe("moves") if move[0] == job_id]
    phases = list(dict.fromkeys(phase for status, phase, _ in moves if status == "processing"))
    assert phases == ["download", "separation", "finalization"]


async def test_a_finished_song_plays_and_its_faders_are_heard(
    visit: Visit, make_song: MakeSong
) -> None:
    visitor = await visit()
    await visitor.choose(make_song("Play me", seed=60, seconds=60.0))
    player = await visitor.open_player("Play me")
    names = await player.locator(".lane-name").all_text_contents()
    assert [name.lower() for name in names] == STEMS
    await player.get_by_test_id("loop").click()  # so that it does not end while it is tried
    await player.get_by_test_id("play").click()
    await expect(player).to_have_attribute("data-state", "playing")
    await visitor.probe("sounding()")
    await expect(player).to_have_attribute("data-position", re.compile(r"^([1-9]\.|\d\d)"))
    positions = await visitor.probe("positions")
    assert positions == sorted(positions)

    vocals, instrumental = (player.locator(f"[data-stem={stem}]") for stem in STEMS)
    await _mute(vocals, on=True)
    await _mute(instrumental, on=True)
    await visitor.probe("silent()")
    await _mute(instrumental, on=False)
    await visitor.probe("sounding()")

    await vocals.get_by_test_id("solo").click()
    await expect(vocals).to_have_attribute("data-heard", "true")
    await expect(instrumental).to_have_attribute("data-heard", "false")
    await vocals.get_by_test_id("solo").click()
    await expect(instrumental).to_have_attribute("data-heard", "true")

    await instrumental.get_by_test_id("fader").fill("0")
    await visitor.probe("silent()")
    await instrumental.get_by_test_id("fader").fill("100")
    await visitor.probe("sounding()")

    await player.get_by_test_id("play").click()
    await expect(player).to_have_attribute("data-state", "paused")
    await player.get_by_test_id("seek").fill("5.5")
    await expect(player).to_have_attribute("data-position", "5.50")
    await player.get_by_test_id("play").click()
    await visitor.probe("sounding()")
    await expect(player).to_have_attribute("data-position", re.compile(r"^(5\.[6-9]|[6-9]\.|\d\d)"))


async def test_a_songs_own_picture_is_on_its_card(visit: Visit, tmp_path: Path) -> None:
    visitor = await visit()
    song = media.song(2.0)
    await visitor.choose(media.write_covered(tmp_path / "covered.mp3", song, media.picture()))
    card = await visitor.status("covered", "completed")
    await expect(card.locator(".thumb")).to_have_attribute("data-state", "loaded")
    assert await card.locator(".thumb img").evaluate("(image) => image.naturalWidth") == 32


async def test_a_dropped_file_comes_back_as_files_named_after_the_song(
    visit: Visit, make_song: MakeSong, api: Api
) -> None:
    visitor = await visit()
    song = make_song("Take me home")
    content = base64.b64encode(song.read_bytes()).decode()
    await visitor.page.evaluate(DROP, [song.name, content])
    card = await visitor.status("Take me home", "completed")
    links = card.get_by_test_id("stem-link")
    await expect(links).to_have_count(len(STEMS))
    for stem in STEMS:
        link = card.locator(f"[data-testid=stem-link][data-stem={stem}]")
        async with visitor.page.expect_download() as waiting:
            await link.click()
        download = await waiting.value
        name = f"The Testers - Take me home ({stem}).flac"
        assert download.suggested_filename == name
        answer = await api.ask("GET", str(await link.get_attribute("href")))
        assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
        assert answer.body == (await download.path()).read_bytes()
        heard = hear(answer.body)
        assert heard.codec == "flac"
        assert abs(len(heard.samples) - 8 * 44_100) < 2_500  # an MP3 is padded


async def _mute(lane: Locator, *, on: bool) -> None:
    button = lane.get_by_test_id("mute")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", str(on).lower(), timeout=PATIENCE)
    await expect(lane).to_have_attribute("data-heard", str(not on).lower())
