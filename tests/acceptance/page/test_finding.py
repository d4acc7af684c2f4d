"""Search, filters and order; what happens meanwhile is held to the same rules."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.acceptance.page.visitor import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.acceptance.api import Api
    from tests.acceptance.page.conftest import Visit

    Later = Callable[[str, str], Awaitable[str]]

pytestmark = pytest.mark.asyncio(loop_scope="package")

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
CROWD = 53


@pytest_asyncio.fixture(loop_scope="package")
async def later(api: Api) -> AsyncIterator[Later]:
    """Submits songs for tomorrow, which nobody works on; their ids."""
    made: list[str] = []

    async def submit(name: str, owner: str) -> str:
        order = {
            "source": {"url": f"https://example.org/{name}"},
            "owner": owner,
            "run_at": TOMORROW,
        }
        answer = await api.ask("POST", "/v1/jobs", json=order)
        assert answer.status == 201, answer.body
        made.append(answer.json["id"])
        return made[-1]

    yield submit
    for job_id in made:
        await api.ask("POST", f"/v1/jobs/{job_id}/cancel")


async def test_a_search_and_filters_hold_for_what_happens_later_too(
    visit: Visit, api: Api, later: Later
) -> None:
    visitor = await visit()
    page = visitor.page
    first = await later("needle-1", "ann")
    await later("needle-2", "bob")
    await later("hay-1", "bob")
    await page.get_by_test_id("search").fill("NEEDLE")
    await expect(page).to_have_url(re.compile(r"\?q=NEEDLE$"), timeout=PATIENCE)
    jobs = page.get_by_test_id("job")
    await expect(jobs.locator(".title")).to_contain_text(["needle-2", "needle-1"])

    await later("hay-2", "ann")
    await later("needle-3", "ann")
    await expect(jobs.locator(".title")).to_contain_text(["needle-3", "needle-2", "needle-1"])

    await page.get_by_test_id("filter-status").select_option("scheduled")
    await expect(jobs).to_have_count(3)
    await api.order(first, "cancel")
    await expect(jobs).to_have_count(2, timeout=PATIENCE)
    await page.get_by_test_id("filter-status").select_option("cancelled")
    await expect(jobs.locator(".title")).to_contain_text(["needle-1"])

    await page.get_by_test_id("reset").click()
    await page.get_by_test_id("filter-owner").select_option("bob")
    await expect(jobs.locator(".title")).to_contain_text(["hay-1", "needle-2"])
    await page.get_by_test_id("sort").select_option("created")
    await expect(jobs.locator(".title")).to_contain_text(["needle-2", "hay-1"])

    await page.reload()  # the address remembers
    await expect(jobs.locator(".title")).to_contain_text(["needle-2", "hay-1"])
    await page.get_by_test_id("search").fill("nobody has this")
    await expect(page.get_by_test_id("empty")).to_be_visible()


async def test_more_songs_come_by_pages_and_none_twice(visit: Visit, api: Api) -> None:
    urls = [f"https://example.org/crowd-{number:02}" for number in range(CROWD)]
    order = {"urls": urls, "owner": "crowd", "run_at": TOMORROW}
    batch = (await api.ask("POST", "/v1/batches", json=order)).json["id"]
    visitor = await visit()
    page = visitor.page
    group = page.get_by_test_id("batch").filter(has_text="for crowd")
    toggle = group.get_by_test_id("batch-toggle")
    await expect(toggle).to_have_text(f"Show {CROWD} songs", timeout=PATIENCE)
    await expect(group.get_by_test_id("batch-counts")).to_have_text(f"{CROWD} waiting")
    await toggle.click()
    songs = group.get_by_test_id("job")
    await expect(songs.locator(".title")).to_contain_text([url[-8:] for url in urls[:25]])
    await group.get_by_test_id("batch-more").click()
    await expect(songs).to_have_count(50)

    await page.get_by_test_id("search").fill("crowd-")
    jobs = page.get_by_test_id("job")
    await expect(page.get_by_test_id("batch")).to_have_count(0)
    await expect(jobs).to_have_count(50)
    await page.get_by_test_id("more").click()
    await expect(jobs).to_have_count(CROWD)
    await expect(page.get_by_test_id("more")).to_be_hidden()
    ids = await jobs.evaluate_all("cards => cards.map((card) => card.dataset.jobId)")
    assert len(set(ids)) == CROWD
    await api.ask("POST", f"/v1/batches/{batch}/cancel")
