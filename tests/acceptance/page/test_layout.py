"""Nothing sticks out of the page, and everything on it has a name."""

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

#: Controls that nothing names, ids that are there twice, and references that lead nowhere.
UNNAMED = """() => {
    const named = (ids) => ids.split(" ").filter(Boolean).map((id) => document.getElementById(id));
    const name = (element) => [
        ...named(element.getAttribute("aria-labelledby") ?? "").map((other) => other?.textContent),
        element.getAttribute("aria-label"),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        element.matches("input, select, textarea") ? "" : element.textContent,
    ].join("").trim();
    const controls = "button, input, select, textarea, a, summary, dialog, [role=progressbar]";
    const nameless = [...document.querySelectorAll(controls)]
        .filter((element) => !element.closest("[aria-hidden=true]") && !name(element));
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    const lost = ["aria-labelledby", "aria-describedby", "aria-controls"].flatMap((attribute) =>
        [...document.querySelectorAll(`[${attribute}]`)]
            .filter((element) => named(element.getAttribute(attribute)).includes(null)));
    return [
        ...[...nameless, ...lost].map((element) => element.outerHTML.slice(0, 160)),
        ...ids.filter((id, at) => ids.indexOf(id) !== at),
    ];
}"""

#: A phone and a desk.
WINDOWS = ((390, 844), (1440, 900))


async def test_everything_fits_a_phone_and_a_desk_and_has_a_name(
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
        for panel in ("options", "terms"):
            await page.get_by_test_id(panel).locator("summary").click()
            await expect(page.get_by_test_id(panel).locator("select")).to_be_visible()
        await visitor.card("/status/410").get_by_test_id("delete").click()
        await _fits(page)
        await page.get_by_test_id("open-status").click()
        await expect(page.get_by_test_id("workers")).to_be_visible()
        await _fits(page)
        assert await page.evaluate(UNNAMED) == []
        await page.get_by_test_id("status-close").click()
        held.release.set()
        await visitor.open_player("long-name")
    for summary in await page.locator(".timeline:visible summary").all():
        await summary.click()
    await _fits(page)
    assert await page.evaluate(UNNAMED) == []


async def _fits(page: Page) -> None:
    found = {}
    for width, height in WINDOWS:
        await page.set_viewport_size({"width": width, "height": height})
        found[width] = await page.evaluate(STICKING_OUT)
    assert found == {width: [] for width, _ in WINDOWS}
