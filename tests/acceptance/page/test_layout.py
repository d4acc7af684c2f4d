"""Nothing sticks out of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.acceptance.page.line import held_song

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import MakeSong, Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")

#: What reaches over the window's left or right edge, unless it is cut off on purpose.
STICKING_OUT = """() => {
    const cut = (element) => element.closest(".unseen, .skip, [hidden]")
        || getComputedStyle(element).visibility === "hidden";
    const found = [...document.querySelectorAll("body *")].filter((element) => {
        const { left, right, width, height } = element.getBoundingClientRect();
        return width && height && (left < -0.5 || right > innerWidth + 0.5) && !cut(element);
    });
    const room = document.documentElement.scrollWidth;
    const names = found.map((element) => `${element.tagName}.${element.getAttribute("class")}`);
    return room > innerWidth ? [`the page is ${room} wide`, ...names] : names;
}"""


#: A phone and a desk.
WINDOWS = ((390, 844), (1440, 900))


async def test_nothing_overflows_sideways_on_a_phone_or_on_a_desk(
    visit: Visit, make_song: MakeSong, songs: Songs
) -> None:
    visitor = await visit()
    page = visitor.page
    await _fits(page)

    song = make_song("long-name" * 12)
    async with held_song(song.read_bytes(), f"{'long-name' * 12}.mp3") as held:
        await visitor.paste(f"{held.url} {songs.site.base}/status/410?{'x' * 150}")
        await visitor.status("long-name", "processing")
        await visitor.status("/status/410", "failed")
        await page.get_by_test_id("options").locator("summary").click()
        await expect(page.locator(".options-body select")).to_be_visible()
        await _fits(page)
        held.release.set()
        await visitor.open_player("long-name")
    for summary in await page.locator(".timeline summary").all():
        await summary.click()
    await _fits(page)


async def _fits(page: Page) -> None:
    found = {}
    for width, height in WINDOWS:
        await page.set_viewport_size({"width": width, "height": height})
        found[width] = await page.evaluate(STICKING_OUT)
    assert found == {width: [] for width, _ in WINDOWS}
