"""What is over can be deleted, after one more question, on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.acceptance.page.visitor import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.api import Api
    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_song_is_deleted_by_keyboard_and_is_gone_from_every_page(
    visit: Visit, songs: Songs, api: Api
) -> None:
    visitor, other = await visit(), await visit()
    await visitor.paste(f"{songs.site.base}/status/404?delete-me")
    card = await visitor.status("delete-me", "failed")
    await other.status("delete-me", "failed")
    job_id = await card.get_attribute("data-job-id")

    delete, keep = card.get_by_test_id("delete"), card.get_by_test_id("keep")
    await delete.press("Enter")
    await expect(keep).to_be_focused()
    await keep.press("Escape")
    await expect(delete).to_be_focused()
    assert (await api.ask("GET", f"/v1/jobs/{job_id}")).status == 200

    await delete.press("Enter")
    await visitor.page.keyboard.press("Shift+Tab")
    confirm = card.get_by_test_id("confirm-delete")
    await expect(confirm).to_be_focused()
    await confirm.press("Enter")
    for page in (visitor, other):
        await expect(page.card("delete-me")).to_have_count(0, timeout=PATIENCE)
    assert (await api.ask("GET", f"/v1/jobs/{job_id}")).status == 404


async def test_a_finished_songs_mixer_closes_when_it_is_deleted(
    visit: Visit, songs: Songs, api: Api
) -> None:
    visitor = await visit()
    job = await api.finished(songs.url("song.mp3"))
    card = visitor.page.locator(f"[data-job-id='{job['id']}']")
    await card.get_by_test_id("open-player").click()
    await expect(card.get_by_test_id("player")).to_be_visible()
    await card.get_by_test_id("delete").click()
    await card.get_by_test_id("confirm-delete").click()
    await expect(card).to_have_count(0, timeout=PATIENCE)
