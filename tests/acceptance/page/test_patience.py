"""A server that asks for patience gets it, and gets nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from shared.contracts.codec import encode
from shared.contracts.problem import Problem
from shared.errors import CATALOGUE, Code, RetryableError
from tests.acceptance.page.visitor import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Route

    from tests.acceptance.api import Api
    from tests.acceptance.conftest import Songs
    from tests.acceptance.page.conftest import Visit

pytestmark = pytest.mark.asyncio(loop_scope="package")


class Counter:
    """Stands between the page and ``POST /v1/jobs``."""

    def __init__(self, *, refusals: int = 0, lost_answers: int = 0, seconds: int = 1) -> None:
        #: The Idempotency-Keys that came by.
        self.keys: list[str] = []
        self._refusals = refusals
        self._lost_answers = lost_answers
        self._seconds = seconds

    async def __call__(self, route: Route) -> None:
        """Refuse, or pass on and lose the answer, or only pass on."""
        if route.request.method != "POST":
            await route.continue_()
            return
        self.keys.append(route.request.headers["idempotency-key"])
        if self._refusals:
            self._refusals -= 1
            await route.fulfill(
                status=429,
                headers={"Retry-After": str(self._seconds)},
                content_type="application/problem+json",
                body=encode(Problem.of(RetryableError(Code.QUEUE_FULL))),
            )
        elif self._lost_answers:
            self._lost_answers -= 1
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()


async def test_a_full_queue_is_waited_for_in_sight(visit: Visit, songs: Songs) -> None:
    visitor = await visit()
    visitor.expect_complaint("status of 429")
    counter = Counter(refusals=2)
    await visitor.page.route("**/v1/jobs", counter)
    await visitor.paste(f"{songs.site.base}/status/404?patient")
    wait = visitor.page.get_by_test_id("wait")
    await expect(wait).to_contain_text(CATALOGUE[Code.QUEUE_FULL].title)
    await expect(wait).to_contain_text("Trying again in")
    await visitor.status("patient", "failed")
    await expect(wait).to_be_hidden()
    assert len(counter.keys) == 3
    assert len(set(counter.keys)) == 1


async def test_waiting_can_be_given_up_and_leaves_the_form_as_it_was(visit: Visit) -> None:
    visitor = await visit()
    visitor.expect_complaint("status of 429")
    await visitor.page.route("**/v1/jobs", Counter(refusals=1, seconds=60))
    await visitor.paste("https://example.org/not-now")
    await visitor.page.get_by_test_id("wait-stop").click()
    message = visitor.page.get_by_test_id("compose-message")
    await expect(message).to_contain_text(CATALOGUE[Code.QUEUE_FULL].title)
    await expect(visitor.page.get_by_test_id("url")).to_have_value("https://example.org/not-now")
    await expect(visitor.page.get_by_test_id("submit")).to_be_enabled()


async def test_a_song_whose_answer_was_lost_is_sent_again_and_is_there_once(
    visit: Visit, songs: Songs, api: Api
) -> None:
    visitor = await visit()
    visitor.expect_complaint("net::ERR_")
    await visitor.page.route("**/v1/jobs", Counter(lost_answers=1))
    await visitor.paste(f"{songs.site.base}/status/404?only-once")
    await expect(visitor.page.get_by_test_id("compose-message")).to_contain_text("can't be reached")
    await visitor.page.get_by_test_id("submit").click()
    await expect(visitor.page.get_by_test_id("url")).to_have_value("", timeout=PATIENCE)
    await visitor.status("only-once", "failed")
    found = (await api.ask("GET", "/v1/jobs", params={"q": "only-once"})).json["jobs"]
    assert len(found) == 1
