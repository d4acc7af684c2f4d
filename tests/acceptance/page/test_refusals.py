"""What goes wrong is said in words, and a job can be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from shared.errors import CATALOGUE, Code
from tests.acceptance.page.line import held_song

if TYPE_CHECKING:
    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import MakeSong, Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")

HOSTILE = "<img src=x onerror=alert(1)>"


async def test_what_is_no_address_is_not_sent(visit: Visit) -> None:
    visitor = await visit()
    await visitor.paste("hello")
    await expect(visitor.page.get_by_test_id("compose-message")).to_contain_text(
        "“hello” is not a web address"
    )
    await expect(visitor.page.get_by_test_id("url")).to_have_value("hello")


async def test_a_refused_address_is_shown_with_the_problem_and_what_to_do(visit: Visit) -> None:
    visitor = await visit()
    visitor.expect_complaint("status of 422")
    await visitor.paste("https:nowhere")
    message = visitor.page.get_by_test_id("compose-message")
    title, hint = CATALOGUE[Code.SOURCE_NOT_A_URL]
    await expect(message).to_contain_text(title)
    await expect(message).to_contain_text(hint)
    await expect(visitor.page.get_by_test_id("url")).to_have_value("https:nowhere")


async def test_a_failed_job_says_why_and_can_be_retried(visit: Visit, songs: Songs) -> None:
    visitor = await visit()
    await visitor.paste(f"{songs.site.base}/empty.html")
    card = await visitor.status("/empty.html", "failed")
    problem = card.get_by_test_id("problem")
    await expect(problem).to_have_attribute("data-code", Code.SOURCE_NO_MEDIA)
    title, hint = CATALOGUE[Code.SOURCE_NO_MEDIA]
    await expect(problem).to_contain_text(title)
    await expect(problem).to_contain_text(hint)

    asked = songs.site.asked.count("/empty.html")
    job_id = await card.get_attribute("data-job-id")
    await card.get_by_test_id("retry").click()
    # For as long as it is tried.
    await visitor.probe(f"""gone('[data-job-id="{job_id}"] [data-testid=problem]')""")
    await visitor.status("/empty.html", "failed")
    assert songs.site.asked.count("/empty.html") > asked


async def test_a_running_job_is_cancelled_with_its_button(
    visit: Visit, make_song: MakeSong
) -> None:
    visitor = await visit()
    song = make_song("Stop me")
    async with held_song(song.read_bytes(), "stop-me.mp3") as held:
        await visitor.paste(held.url)
        card = await visitor.status("stop-me", "processing")
        await card.get_by_test_id("cancel").click()
        await visitor.status("stop-me", "cancelled")
        await expect(card.get_by_test_id("cancel")).to_have_count(0)
        await expect(card.get_by_test_id("retry")).to_be_visible()


async def test_a_hostile_title_is_only_text(visit: Visit, make_song: MakeSong) -> None:
    visitor = await visit()
    await visitor.choose(make_song(HOSTILE))
    player = await visitor.open_player(HOSTILE)
    card = visitor.card(HOSTILE)
    await expect(card.locator(".title")).to_have_text(HOSTILE)
    await expect(player).to_have_attribute("aria-label", f"Mixer for {HOSTILE}")
    await expect(visitor.page.locator("img[src=x]")).to_have_count(0)
