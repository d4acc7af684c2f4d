"""The line breaks, or the gateway dies: the page goes on by itself and has missed nothing."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.acceptance.page.line import held_song, line_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.api import Api, Event
    from tests.acceptance.page.conftest import MakeSong, Visit
    from tests.support.stack import RunningStack

pytestmark = pytest.mark.asyncio(loop_scope="package")

#: An EventSource as anybody would write it; what it hears is told to the test.
LISTEN = """() => {
    const source = new EventSource("/v1/events?after=0");
    source.onopen = () => tell("open", "", {});
    source.onerror = () => tell("error", "", {});
    for (const kind of ["job", "progress"]) {
        source.addEventListener(kind, (event) =>
            tell(kind, event.lastEventId, JSON.parse(event.data)));
    }
}"""


class Told(NamedTuple):
    """Something that the EventSource has said."""

    kind: str
    #: The id of the last event that had one, as EventSource keeps it.
    last: str
    data: dict[str, Any]

    def ends(self, job: dict[str, Any]) -> bool:
        """Whether it says that ``job`` has completed."""
        return bool(self.data.get("id") == job["id"] and self.data["status"] == "completed")


class Listener:
    """Takes down what is told."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._news = asyncio.Event()

    def __call__(self, kind: str, last: str, data: dict[str, Any]) -> None:
        """Called by the browser."""
        self.told.append(Told(kind, last, data))
        self._news.set()

    async def until(self, fact: Callable[[Told], bool], after: int = 0) -> None:
        """Wait until something has been told after the first ``after`` things."""
        async with asyncio.timeout(60):
            while not any(fact(told) for told in self.told[after:]):
                self._news.clear()
                await self._news.wait()


async def test_a_killed_gateway_is_reconnected_to_and_the_job_ends_on_the_same_page(
    visit: Visit, stack: RunningStack, make_song: MakeSong
) -> None:
    visitor = await visit()
    visitor.expect_complaint("net::ERR_")
    await visitor.page.evaluate("probe.before = 'the same page'")
    song = make_song("Outlive it", 1)
    async with held_song(song.read_bytes(), "outlive-it.mp3") as held:
        await visitor.paste(held.url)
        await visitor.status("outlive-it", "processing")
        stack.kill("gateway")
        await visitor.connection("reconnecting")
        held.release.set()
        await visitor.connection("live")
        await visitor.status("Outlive it", "completed")  # the tag, once it is known
    assert await visitor.probe("before") == "the same page"
    assert await visitor.probe("connection") == ["live", "reconnecting", "live"]
    assert await visitor.probe("sources") == 1  # the browser itself has reconnected


async def test_an_event_source_whose_line_was_cut_goes_on_after_its_last_id(
    visit: Visit, stack: RunningStack, api: Api, make_song: MakeSong
) -> None:
    visitor = await visit()
    visitor.expect_complaint("net::ERR_")
    visitor.expect_complaint("favicon.ico")  # only the page itself names its icon
    listener = Listener()
    await visitor.page.expose_function("tell", listener)
    async with line_to(stack.url) as line:
        await visitor.page.goto(f"{line.url}/health")
        await visitor.page.evaluate(LISTEN)
        await listener.until(lambda told: told.kind == "open")
        first = await api.submit(make_song("Before the cut", 2))
        overheard = await _overhear(api, first["id"])
        await listener.until(lambda told: told.ends(first))

        line.cut()
        await listener.until(lambda told: told.kind == "error")
        known = next(told.last for told in reversed(listener.told) if told.last)
        before = len(listener.told)
        second = await api.finished(make_song("During the cut", 3))
        line.mend()
        await listener.until(lambda told: told.ends(second), before)

    snapshots = [told for told in listener.told if told.kind == "job"]
    ids = [int(told.last) for told in snapshots]
    assert ids == sorted(set(ids))  # none twice, none out of order
    assert {event.id for event in overheard if event.kind == "job"} <= set(ids)
    ticks = [event for event in overheard if event.kind == "progress"]
    assert ticks
    assert all(tick.id is None for tick in ticks)
    assert {told.last for told in listener.told if told.kind == "progress"} <= set(map(str, ids))
    assert line.last_event_ids[0] == int(known)
    jobs = (await api.ask("GET", "/v1/jobs?limit=200")).json["jobs"]
    assert {told.data["id"]: told.data for told in snapshots} == {job["id"]: job for job in jobs}


async def _overhear(api: Api, job_id: str) -> list[Event]:
    """What a client without a browser is told until the job has ended."""
    heard = []
    async with aclosing(api.events("/v1/events?after=0")) as events:
        async for event in events:
            heard.append(event)
            if event.ended and event.data["id"] == job_id:
                return heard
    raise AssertionError("the stream ended before the job")
