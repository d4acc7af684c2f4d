"""A waiting song says where it stands, and can be held, moved and called off."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from playwright.async_api import expect

from shared.errors import CATALOGUE, Code
from tests.acceptance.page.visitor import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.api import Api
    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import Busy, Visit
    from tests.acceptance.page.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="package")

NAMES = ("wait-a", "wait-b", "wait-c")
PLACES = ("Next in line", "2nd in line", "3rd in line")


async def test_waiting_songs_are_moved_held_and_released(
    visit: Visit, busy: Busy, songs: Songs
) -> None:
    visitor = await visit()
    a, b, c = NAMES
    async with busy():
        for name in NAMES:
            await visitor.paste(f"{songs.site.base}/media/{name}.mp3")
            await visitor.status(name, "pending")
        await _stand(visitor, a, b, c)

        await visitor.card(c).get_by_test_id("front").click()
        await _stand(visitor, c, a, b)

        await visitor.card(c).get_by_test_id("hold").click()
        await visitor.reads(c, "place", "On hold")
        await _stand(visitor, a, b)

        await visitor.page.reload()  # the same from the server as from the events
        await visitor.reads(c, "place", "On hold")
        await _stand(visitor, a, b)

        await visitor.card(b).get_by_test_id("priority").select_option("high")
        await _stand(visitor, b, a)

        await visitor.card(c).get_by_test_id("release").click()
        await _stand(visitor, c, b, a)
        await expect(visitor.card(c).get_by_test_id("front")).to_be_disabled()

        for name in NAMES:
            await visitor.card(name).get_by_test_id("cancel").click()
            card = await visitor.status(name, "cancelled")
            await expect(card.get_by_test_id("waiting")).to_be_hidden()


async def test_the_buttons_of_a_waiting_song_keep_the_keyboards_place(
    visit: Visit, busy: Busy, songs: Songs
) -> None:
    visitor = await visit()
    async with busy():
        await visitor.paste(f"{songs.site.base}/media/by-key.mp3")
        card = await visitor.status("by-key", "pending")
        hold, release = card.get_by_test_id("hold"), card.get_by_test_id("release")
        await expect(hold).to_have_accessible_name(re.compile(r"^Hold .*by-key"))
        await hold.press("Enter")
        await expect(release).to_be_focused(timeout=PATIENCE)
        await release.press("Enter")
        await expect(hold).to_be_focused(timeout=PATIENCE)
        await card.get_by_test_id("cancel").press("Enter")
        await expect(card.get_by_test_id("retry")).to_be_focused(timeout=PATIENCE)


async def test_a_song_for_later_says_when(visit: Visit, songs: Songs) -> None:
    visitor = await visit()
    tomorrow = datetime.now(UTC).astimezone() + timedelta(days=1)
    page = visitor.page
    await page.get_by_test_id("terms").locator("summary").click()
    await page.get_by_test_id("compose-start").fill(tomorrow.strftime("%Y-%m-%dT02:30"))
    await page.get_by_test_id("compose-priority").select_option("low")
    await visitor.paste(f"{songs.site.base}/media/tomorrow.mp3")
    card = await visitor.status("tomorrow", "scheduled")
    await expect(card.get_by_test_id("place")).to_contain_text(re.compile(r"Starts .*2:30"))
    await expect(card.get_by_test_id("priority")).to_have_value("low")
    await expect(page.get_by_test_id("compose-priority")).to_have_value("normal")
    await expect(page.get_by_test_id("compose-start")).to_have_value("")
    await card.get_by_test_id("cancel").click()
    await visitor.status("tomorrow", "cancelled")


async def test_a_song_says_what_it_waits_for(visit: Visit, api: Api) -> None:
    visitor = await visit()
    app = web.Application()
    app.router.add_get("/{song}", _slow_down)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        # An address of its own: the site that it stands for is left alone for a while.
        await web.TCPSite(runner, "127.0.0.2", 0).start()
        base = "http://{}:{}".format(*runner.addresses[0][:2])
        refused = await api.submit(f"{base}/refused.mp3")
        await api.until(refused["id"], lambda event: "again" in str(event.data.get("timeline")))
        waiting = await api.submit(f"{base}/waits-for-it.mp3")
        note = visitor.card("waits-for-it").get_by_test_id("note")
        await expect(note).to_have_attribute("data-code", Code.SOURCE_SITE_PAUSED, timeout=PATIENCE)
        title, hint = CATALOGUE[Code.SOURCE_SITE_PAUSED]
        await expect(note).to_contain_text(title)
        await expect(note).to_contain_text(hint)
        for job in (waiting, refused):
            await api.order(job["id"], "cancel")
        await expect(note).to_be_hidden(timeout=PATIENCE)
    finally:
        await runner.cleanup()


async def _slow_down(_: web.Request) -> web.Response:
    return web.Response(status=429)


async def _stand(visitor: Visitor, *names: str) -> None:
    """Wait until these songs stand in line in this order."""
    for name, place in zip(names, PLACES, strict=False):
        await visitor.reads(name, "place", place)
