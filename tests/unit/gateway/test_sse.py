"""What a live connection is told: all that changed, once, in order, whatever it missed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway import sse as sse_module
from services.gateway.feed import job_frame
from services.gateway.projection import Projection
from services.gateway.ring import Frame, Ring
from services.gateway.sse import Events, _Reader
from shared.contracts.job import Status
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def seen(job_id: str, status: Status = Status.PROCESSING) -> Snapshot:
    return replace(snapshot(jobs.OF_STATUS[status]()), id=job_id)


def told(job_id: str) -> Frame:
    return Frame(job_id, None, last=False, text=b"event: progress\n\n")


def reader(cursor: int = 0, job_id: str | None = None) -> _Reader:
    return _Reader(lambda _revision, _limit: [], cursor, job_id)


def test_a_frame_is_an_event_with_the_revision_for_its_id() -> None:
    frame = job_frame(7, seen("j1"))
    assert frame.text.startswith(b'id: 7\nevent: job\ndata: {"id":"j1",')
    assert frame.text.endswith(b"}\n\n")
    assert b"\n" not in frame.text[:-2].split(b"data: ")[1]
    assert (frame.job_id, frame.revision, frame.last) == ("j1", 7, False)
    assert job_frame(8, seen("j1", Status.FAILED)).last


def test_a_reader_is_sent_each_revision_once_and_progress_always() -> None:
    client = reader(cursor=4)
    frames = [job_frame(4, seen("a")), job_frame(5, seen("b")), told("a"), job_frame(5, seen("b"))]
    assert [frames[1], frames[2]] == client.wanted(frames)
    assert (5, [frames[2]]) == (client.cursor, client.wanted(frames))


def test_a_reader_of_one_job_is_sent_nothing_of_others_and_ends_with_it() -> None:
    client = reader(job_id="a")
    first = [job_frame(5, seen("a")), job_frame(6, seen("b", Status.COMPLETED)), told("b")]
    assert ([first[0]], False) == (client.wanted(first), client.ended)
    last = job_frame(7, seen("a", Status.COMPLETED))
    assert ([last], True) == (client.wanted([last]), client.ended)


def test_a_reader_of_all_jobs_does_not_end_with_one_of_them() -> None:
    client = reader()
    client.wanted([job_frame(7, seen("a", Status.COMPLETED))])
    assert not client.ended


class House:
    """A gateway's live side with a client that writes into a list."""

    def __init__(self, folder: Path) -> None:
        self.projection = Projection(folder / "jobs.sqlite")
        self.ring = Ring(8)
        self.events = Events(
            feed=self,  # type: ignore[arg-type] # only now() is asked of it
            projection=self.projection,
            ring=self.ring,
            max_streams=1,
            stall_seconds=5.0,
        )
        self.text = b""
        #: Called at each write with what was written: a chance for things to happen meanwhile.
        self.meanwhile: Callable[[bytes], None] = lambda _: None
        self.news = asyncio.Event()

    def now(self, stored: Snapshot) -> Snapshot:
        return stored

    def tell(self, revision: int, one: Snapshot) -> None:
        """What the feed does."""
        self.projection.store(revision, one)
        self.ring.append(job_frame(revision, one))

    async def write(self, text: bytes) -> None:
        self.text += text
        self.meanwhile(text)
        self.news.set()

    @property
    def ids(self) -> list[tuple[int, str]]:
        """(revision, job) of every event that was written."""
        found = re.findall(rb'id: (\d+)\nevent: job\ndata: {"id":"([^"]*)"', self.text)
        return [(int(revision), job.decode()) for revision, job in found]

    async def until(self, revision: int) -> None:
        async with asyncio.timeout(5):
            while revision not in [known for known, _ in self.ids]:
                self.news.clear()
                await self.news.wait()

    def stream(self, after: int | None) -> asyncio.Task[None]:
        """As ``all_jobs`` does."""
        known = self.events._caught_up(after)
        client = _Reader(self.projection.changed_after, known, None)
        if after is None:
            client.first = self.projection.unfinished_after
        return asyncio.create_task(
            self.events._stream(None, self, client)  # type: ignore[arg-type] # write() is all
        )

    async def end(self, streaming: asyncio.Task[None]) -> None:
        self.events.close()
        await asyncio.wait_for(streaming, 5)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.projection.close()


async def test_a_new_client_is_told_what_has_not_ended_then_what_happens(house: House) -> None:
    house.tell(1, seen("a"))
    house.tell(2, seen("b", Status.COMPLETED))
    house.tell(3, seen("c"))
    streaming = house.stream(None)
    await house.until(3)
    house.tell(4, seen("a", Status.COMPLETED))
    await house.until(4)
    await house.end(streaming)
    assert house.ids == [(1, "a"), (3, "c"), (4, "a")]
    assert house.text.startswith(b"retry: 1000\n\n")


async def test_a_client_that_comes_back_is_told_what_changed_and_nothing_else(
    house: House,
) -> None:
    for revision, job_id in enumerate("abc", 1):
        house.tell(revision, seen(job_id))
    house.tell(4, seen("a", Status.COMPLETED))
    streaming = house.stream(2)
    await house.until(4)
    await house.end(streaming)
    assert house.ids == [(3, "c"), (4, "a")]


async def test_an_id_from_another_bucket_gets_everything(house: House) -> None:
    house.tell(1, seen("a"))
    house.tell(2, seen("b", Status.COMPLETED))
    streaming = house.stream(9_999)
    await house.until(2)
    await house.end(streaming)
    assert house.ids == [(1, "a"), (2, "b")]


async def test_a_client_that_is_slower_than_the_ring_goes_on_from_the_state(
    house: House,
) -> None:
    streaming = house.stream(None)
    await asyncio.sleep(0)
    for revision in range(1, 30):
        house.tell(revision, seen("a" if revision % 2 else "b"))
    await house.until(29)
    await house.end(streaming)
    assert house.ids == [(28, "b"), (29, "a")]


@pytest.mark.parametrize("after", [None, 0])
async def test_an_end_that_comes_while_a_client_catches_up_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch, after: int | None
) -> None:
    """It was sent on a page before, and others have moved on since."""
    monkeypatch.setattr(sse_module, "PAGE", 2)
    for revision, job_id in enumerate("abcd", 1):
        house.tell(revision, seen(job_id))
    happening = [(5, seen("a", Status.COMPLETED)), (6, seen("d"))]

    def meanwhile(text: bytes) -> None:
        if b"id: 2" in text:
            while happening:
                house.tell(*happening.pop(0))

    house.meanwhile = meanwhile
    streaming = house.stream(after)
    await house.until(6)
    house.tell(7, seen("e"))
    await house.until(7)
    await house.end(streaming)
    last = {job_id: revision for revision, job_id in house.ids}
    assert last == {"a": 5, "b": 2, "c": 3, "d": 6, "e": 7}
    assert len(house.ids) == len(set(house.ids))


async def test_an_idle_connection_is_told_that_it_lives(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_module, "COMMENT_SECONDS", 0.01)
    streaming = house.stream(None)
    async with asyncio.timeout(5):
        while house.text.count(b": still here\n\n") < 2:
            house.news.clear()
            await house.news.wait()
    await house.end(streaming)
