"""Somebody in front of the page, who sees what a person sees and complains about the rest."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.async_api import ConsoleMessage, Locator, Page

PROBE: Final = Path(__file__).with_name("probe.js")
#: Milliseconds that anything on the page may take: far more than it takes.
PATIENCE: Final = 60_000


class Visitor:
    """One open page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        #: What the browser complained about: errors, warnings, dialogs, forbidden content.
        self.complaints: list[str] = []
        self._expected: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    async def arrive(self) -> None:
        """Open the page and wait until it is live."""
        await self.page.add_init_script(path=PROBE)
        await self.page.goto(self.address)
        await self.connection("live")

    async def connection(self, state: str) -> None:
        """Wait until the connection line says so."""
        line = self.page.get_by_test_id("connection")
        await expect(line).to_have_attribute("data-state", state, timeout=PATIENCE)

    async def choose(self, *files: Path) -> None:
        """Give files with the file dialog."""
        await self.page.get_by_test_id("file").set_input_files(list(files))

    async def paste(self, text: str) -> None:
        """Put text into the address field and send it."""
        await self.page.get_by_test_id("url").fill(text)
        await self.page.get_by_test_id("submit").click()

    def card(self, title: str) -> Locator:
        """The job with these words on its card."""
        return self.page.get_by_test_id("job").filter(has_text=title)

    def batch(self, title: str) -> Locator:
        """The batch with this title."""
        title_line = self.page.locator(".card-head .title", has_text=title)
        return self.page.get_by_test_id("batch").filter(has=title_line)

    async def reads(self, title: str, part: str, words: str) -> None:
        """Wait until a part of a job's card says so."""
        await expect(self.card(title).get_by_test_id(part)).to_have_text(words, timeout=PATIENCE)

    async def status(self, title: str, status: str) -> Locator:
        """Wait until the job has come to a status; its card."""
        card = self.card(title)
        await expect(card).to_have_attribute("data-status", status, timeout=PATIENCE)
        return card

    async def open_player(self, title: str) -> Locator:
        """Open a finished job's mixer and wait until it can play."""
        card = await self.status(title, "completed")
        await card.get_by_test_id("open-player").click()
        player = card.get_by_test_id("player")
        await expect(player).to_have_attribute("data-state", "ready", timeout=PATIENCE)
        return player

    async def probe(self, what: str) -> Any:  # noqa: ANN401 - whatever JavaScript answers
        """A member of probe.js, called if it is a function; a promise is awaited."""
        async with asyncio.timeout(PATIENCE / 1000):
            return await self.page.evaluate(f"probe.{what}")

    def expect_complaint(self, pattern: str) -> None:
        """What the browser will say about something that the test does on purpose."""
        self._expected.append(pattern)

    @property
    def unexpected(self) -> Sequence[str]:
        """The complaints that nobody expected."""
        return [
            said
            for said in self.complaints
            if not any(re.search(pattern, said) for pattern in self._expected)
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            place = message.location.get("url", "")
            self.complaints.append(f"console {message.type}: {message.text} {place}")
