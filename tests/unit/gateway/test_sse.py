"""What a live connection is told: all that changed, once, in order, whatever it missed."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway import sse as sse_module
from services.gateway.frames import batch_frame, gone_frame, job_frame, place_frame
from services.gateway.projection import Mark
from services.gateway.ring import Frame, Ring
from services.gateway.sse import WRITE_BYTES, Events, _Line, _Reader
from shared.contracts.batch import batch_snapshot
from shared.contracts.job import Job, Status
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import batches, jobs
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.gateway.conftest import Model


def made(job_id: str, status: Status = Status.PROCESSING) -> Job:
    return replace(jobs.OF_STATUS[status](), id=job_id)


def seen(job_id: str, status: Status = Status.PROCESSING) -> Snapshot:
    return snapshot(made(job_id, status))


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


def gone(revision: int, job_id: str) -> Frame:
    return gone_frame(Mark(revision, "job", job_id, gone=True))


class House:
    """A gateway's live side with a client that writes into a list."""

    def __init__(self, model: Model) -> None:
        self.projection = model.projection
        self.overviews = model.overviews
        self.ring = Ring(8)
        self.events = Events(
            feed=self,  # type: ignore[arg-type] # only frame() is asked of it
            projection=self.projection,
            ring=self.ring,
            max_streams=1,
            stall_seconds=5.0,
        )
        self.text = b""
        self.longest = 0
        #: Called at each write with what was written: a chance for things to happen meanwhile.
        self.meanwhile: Callable[[bytes], None] = lambda _: None
        self.news = asyncio.Event()

    def frame(self, mark: Mark) -> Frame | None:
        """What the feed makes of a change."""
        if mark.gone:
            return gone_frame(mark)
        if mark.kind == "batch":
            batch = self.projection.batch(mark.id)
            assert batch is not None
            return batch_frame(mark.revision, self.overviews.of(batch.snapshot))
        row = self.projection.get(mark.id)
        if row is None or row.revision != mark.revision:
            return None
        return job_frame(mark.revision, row.snapshot)

    def tell(self, revision: int, one: Job) -> None:
        """What the feed does."""
        self.projection.store(revision, one)
        self.ring.append(job_frame(revision, snapshot(one)))

    def remove(self, revision: int, job_id: str) -> None:
        """What the feed does with a removal."""
        self.projection.remove(revision, job_id, NOW)
        self.ring.append(gone(revision, job_id))

    async def write(self, text: bytes) -> None:
        self.text += text
        self.longest = max(self.longest, len(text))
        self.meanwhile(text)
        self.news.set()

    @property
    def ids(self) -> list[tuple[int, str]]:
        """(revision, job) of every event that was written."""
        found = re.findall(rb'id: (\d+)\nevent: [a-z_]+\ndata: {"id":"([^"]*)"', self.text)
        return [(int(revision), job.decode()) for revision, job in found]

    async def until(self, revision: int) -> None:
        async with asyncio.timeout(5):
            while revision not in [known for known, _ in self.ids]:
                self.news.clear()
                await self.news.wait()

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """(event, id of what it is about) of every event that was written."""
        found = re.findall(rb'event: ([a-z_]+)\ndata: {"id":"([^"]*)"', self.text)
        return [(kind.decode(), key.decode()) for kind, key in found]

    def stream(self, after: int | None, job_id: str | None = None) -> asyncio.Task[None]:
        """As ``all_jobs`` does, or with an id ``one_job``."""
        known = self.events._caught_up(after)
        client = _Reader(self.projection.changed_after, known, job_id)
        if after is None:
            client.first = self.projection.unfinished_after
        line = _Line(None, self, 5.0)  # type: ignore[arg-type] # write() is all
        return asyncio.create_task(self.events._stream(line, client))

    async def end(self, streaming: asyncio.Task[None]) -> None:
        self.events.close()
        await asyncio.wait_for(streaming, 5)


@pytest.fixture
def house(model: Model) -> House:
    return House(model)


async def test_a_new_client_is_told_what_has_not_ended_then_what_happens(house: House) -> None:
    house.tell(1, made("a"))
    house.tell(2, made("b", Status.COMPLETED))
    house.tell(3, made("c"))
    streaming = house.stream(None)
    await house.until(3)
    house.tell(4, made("a", Status.COMPLETED))
    await house.until(4)
    await house.end(streaming)
    assert house.ids == [(1, "a"), (3, "c"), (4, "a")]
    assert house.text.startswith(b"retry: 1000\n\n")


async def test_a_client_that_comes_back_is_told_what_changed_and_nothing_else(
    house: House,
) -> None:
    for revision, job_id in enumerate("abc", 1):
        house.tell(revision, made(job_id))
    house.tell(4, made("a", Status.COMPLETED))
    streaming = house.stream(2)
    await house.until(4)
    await house.end(streaming)
    assert house.ids == [(3, "c"), (4, "a")]


async def test_an_id_from_another_bucket_gets_everything(house: House) -> None:
    house.tell(1, made("a"))
    house.tell(2, made("b", Status.COMPLETED))
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
        house.tell(revision, made("a" if revision % 2 else "b"))
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
        house.tell(revision, made(job_id))
    happening = [(5, made("a", Status.COMPLETED)), (6, made("d"))]

    def meanwhile(text: bytes) -> None:
        if b"id: 2" in text:
            while happening:
                house.tell(*happening.pop(0))

    house.meanwhile = meanwhile
    streaming = house.stream(after)
    await house.until(6)
    house.tell(7, made("e"))
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


async def test_what_others_are_told_is_no_sign_of_life(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's own stream is silent while other jobs are at work."""
    monkeypatch.setattr(sse_module, "COMMENT_SECONDS", 0.2)
    streaming = house.stream(None, "mine")
    async with asyncio.timeout(5):
        while house.text.count(b": still here\n\n") < 2:
            house.ring.append(told("other"))
            await asyncio.sleep(0.01)
    await house.end(streaming)
    assert b"other" not in house.text


def test_a_removal_is_an_event_and_the_end_of_its_job_s_stream() -> None:
    frame = gone(9, "j1")
    assert frame == Frame("j1", 9, last=True, text=b'id: 9\nevent: gone\ndata: {"id":"j1"}\n\n')
    batch = gone_frame(Mark(9, "batch", "b1", gone=True))
    assert batch == Frame(
        "", 9, last=False, text=b'id: 9\nevent: batch_gone\ndata: {"id":"b1"}\n\n'
    )


def test_a_place_is_an_event_without_an_id() -> None:
    frame = place_frame(replace(seen("j1", Status.PENDING), position=3))
    assert (frame.job_id, frame.revision, frame.last) == ("j1", None, False)
    assert frame.text.startswith(b"event: queue\ndata: ")
    assert json.loads(frame.text.split(b"data: ")[1]) == {
        "id": "j1",
        "position": 3,
        "starts_at": None,
        "eta": None,
        "waits_for": None,
    }


def test_a_batch_is_told_to_readers_of_all_only(model: Model) -> None:
    body = model.overviews.of(batch_snapshot(batches.submitted()))
    frames = [batch_frame(5, body), batch_frame(None, body)]
    assert frames == reader().wanted(frames)
    assert reader(job_id="b1").wanted(frames) == []
    assert frames[0].text.startswith(b"id: 5\nevent: batch\ndata: {")
    assert frames[1].text.startswith(b"event: batch\ndata: {")


async def test_one_that_was_away_learns_what_was_removed_and_which_batches_changed(
    house: House,
) -> None:
    for revision, job_id in enumerate("abc", 1):
        house.tell(revision, made(job_id))
    house.projection.store_batch(4, batches.submitted())
    house.remove(5, "a")
    house.tell(6, made("c", Status.COMPLETED))
    streaming = house.stream(2)
    await house.until(6)
    house.remove(7, "b")
    await house.until(7)
    await house.end(streaming)
    assert house.ids == [(4, "b1"), (5, "a"), (6, "c"), (7, "b")]
    assert [kind for kind, _ in house.kinds] == ["batch", "gone", "job", "gone"]


async def test_what_changes_while_a_client_catches_up_comes_once_and_last(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_module, "WRITE_BYTES", 1)
    for revision, job_id in enumerate("abcd", 1):
        house.tell(revision, made(job_id))
    happening = [(5, made("c", Status.COMPLETED))]

    def meanwhile(_: bytes) -> None:
        if happening and b"id: 1" in house.text:
            house.tell(*happening.pop())

    house.meanwhile = meanwhile
    streaming = house.stream(0)
    await house.until(5)
    await house.end(streaming)
    assert house.ids == [(1, "a"), (2, "b"), (4, "d"), (5, "c")]


async def test_a_long_event_is_written_in_pieces(house: House) -> None:
    streaming = house.stream(None)
    await asyncio.sleep(0)
    house.ring.append(Frame("", None, last=False, text=b"x" * 100_000))
    house.tell(1, made("a"))
    await house.until(1)
    await house.end(streaming)
    assert house.text.count(b"x" * 100_000) == 1
    assert house.longest <= WRITE_BYTES


async def test_when_all_begins_anew_streams_end(house: House) -> None:
    house.tell(1, made("a"))
    streaming = house.stream(None)
    await house.until(1)
    house.ring.begin_anew()
    await asyncio.wait_for(streaming, 5)
