"""Many songs at once: a group with a header that says how far all of them are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from shared.errors import CATALOGUE, Code
from tests.acceptance.page.visitor import PATIENCE
from tests.support.stack import eventually

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import Busy, MakeSong, Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_several_addresses_become_a_batch_that_says_what_was_left_out(
    visit: Visit, songs: Songs
) -> None:
    visitor = await visit()
    page = visitor.page
    gone = f"{songs.site.base}/status/404?in-a-batch"
    await page.get_by_test_id("url").fill(f"{songs.url('song.mp3')}\n{gone}\nhttps:nowhere")
    await expect(page.get_by_test_id("compose-count")).to_have_text("3 songs, taken as one batch")
    await page.get_by_test_id("submit").click()
    found = page.get_by_test_id("batch").filter(has_text="in-a-batch")
    batch_id = await found.get_attribute("data-batch-id", timeout=PATIENCE)
    batch = page.locator(f"[data-batch-id='{batch_id}']")
    await _comes_to(batch, "failed")
    await expect(batch.get_by_test_id("batch-counts").locator("li")).to_have_text(
        ["1 ready", "1 failed"]
    )
    await expect(batch.get_by_role("progressbar").first).to_have_attribute("aria-valuenow", "50")

    skipped = batch.get_by_test_id("skipped")
    await skipped.locator("summary").click()
    await expect(skipped).to_contain_text("https:nowhere")
    await expect(skipped).to_contain_text(CATALOGUE[Code.SOURCE_NOT_A_URL].title)

    asked = songs.site.asked.count("/status/404")
    await batch.get_by_test_id("batch-retry").click()
    await eventually(lambda: songs.site.asked.count("/status/404") > asked, "it is tried again")
    await _comes_to(batch, "failed")

    toggle = batch.get_by_test_id("batch-toggle")
    await toggle.press("Enter")
    await expect(batch.get_by_test_id("job")).to_have_count(0)
    await expect(toggle).to_have_attribute("aria-expanded", "false")
    await page.reload()
    await toggle.press("Enter")
    await expect(batch.get_by_test_id("job")).to_have_count(2, timeout=PATIENCE)


async def test_several_files_become_a_batch_that_is_cancelled_as_one(
    visit: Visit, busy: Busy, make_song: MakeSong
) -> None:
    visitor = await visit()
    async with busy():
        await visitor.choose(make_song("One of two", 11), make_song("Two of two", 12))
        batch = visitor.page.get_by_test_id("batch").filter(has_text="song-11.mp3")
        await _comes_to(batch, "processing")
        await expect(batch.get_by_test_id("batch-counts")).to_have_text("2 waiting")
        await expect(batch.get_by_test_id("job").filter(has_text="song-12.mp3")).to_be_visible()
        await expect(visitor.page.get_by_test_id("upload")).to_have_count(0)
        await batch.get_by_test_id("batch-cancel").click()
        await _comes_to(batch, "cancelled")
        await expect(batch.get_by_test_id("batch-counts")).to_have_text("2 cancelled")
        await expect(batch.get_by_test_id("batch-cancel")).to_be_hidden()


async def test_a_playlists_address_offers_to_take_all_of_its_songs(
    visit: Visit, songs: Songs
) -> None:
    visitor = await visit()
    # One of them never ends by itself.
    await visitor.paste(f"{songs.site.base}/long-songs.html")
    card = await visitor.status("/long-songs.html", "failed")
    problem = card.get_by_test_id("problem")
    await expect(problem).to_have_attribute("data-code", Code.SOURCE_PLAYLIST)
    await card.get_by_test_id("take-playlist").click()
    batch = visitor.page.get_by_test_id("batch").filter(has_text="Playlist").first
    await expect(batch.get_by_test_id("job")).to_have_count(2, timeout=PATIENCE)
    await batch.get_by_test_id("batch-cancel").click()
    await expect(batch.get_by_test_id("batch-cancel")).to_be_hidden(timeout=PATIENCE)


async def _comes_to(batch: Locator, state: str) -> None:
    await expect(batch).to_have_attribute("data-state", state, timeout=PATIENCE)
