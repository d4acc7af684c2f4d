"""The panel that says how the server is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.acceptance.page.conftest import PLACES
from tests.acceptance.page.visitor import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import Busy, Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_the_status_is_live_while_it_is_open(visit: Visit, busy: Busy, songs: Songs) -> None:
    visitor = await visit()
    page = visitor.page
    button = page.get_by_test_id("open-status")
    await button.press("Enter")
    panel = page.get_by_test_id("status-panel")
    workers = panel.get_by_test_id("workers")
    for stage in ("download", "separate"):
        await expect(workers.locator(f"[data-stage={stage}]").first).to_be_visible(timeout=PATIENCE)
    async with busy():
        await expect(panel.get_by_test_id("stat-working")).to_have_text(
            str(PLACES), timeout=PATIENCE
        )
        await page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await expect(button).to_be_focused()
        await visitor.paste(f"{songs.site.base}/media/seen-in-status.mp3")
        card = await visitor.status("seen-in-status", "pending")
        await button.click()
        await expect(panel.get_by_test_id("stat-waiting")).to_have_text("1", timeout=PATIENCE)
        await panel.get_by_test_id("status-close").click()
        await card.get_by_test_id("cancel").click()
