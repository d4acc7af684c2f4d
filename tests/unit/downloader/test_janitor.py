"""The janitor: what a record names stays, what nobody names goes when it is old."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from services.downloader.janitor import Janitor, Removed
from shared.blobs import BlobStore, open_store
from shared.contracts.audio import AudioFormat, Result, Track
from shared.contracts.batch import Batch, BatchStatus, Entry, Errand
from shared.contracts.codec import UndecodableError
from shared.contracts.job import Job, Status
from shared.contracts.request import Options, Source, Terms
from shared.jetstream.store import Stored, StoredBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = 86_400.0
TRACK = Track(id="t1", frames=1, mean=0.0, std=0.0)
RESULT = Result(id="r1", model="m", digest="d", format=AudioFormat.FLAC, frames=1, stems=())


class Books:
    """The records; reading them may fail, or be a chance for somebody else to act."""

    def __init__(self, *records: Stored | StoredBatch | Exception) -> None:
        self.records = list(records)
        self.meanwhile: Callable[[], None] = lambda: None

    async def scan(
        self, after: int = 0, *, strict: bool = False
    ) -> AsyncIterator[Stored | StoredBatch]:
        assert (after, strict) == (0, True)
        for record in self.records:
            if isinstance(record, Exception):
                raise record
            yield record
        self.meanwhile()


def job(status: Status, *, ended: float | None = None, **more: Any) -> Stored:  # noqa: ANN401 - fields of a job
    """A job that ended so many seconds ago."""
    at = NOW - timedelta(seconds=ended or 0.0)
    made = Job(
        id="j1",
        source=more.pop("source", Source(upload="u1")),
        options=Options(),
        status=status,
        created_at=at,
        updated_at=at,
        finished_at=at if ended is not None else None,
        **more,
    )
    return Stored("j1", 1, made)


def batch(submitted: int, *, changed: float = 0.0, errand: Errand | None = None) -> StoredBatch:
    made = Batch(
        id="b1",
        status=BatchStatus.EXPANDED,
        options=Options(),
        terms=Terms(),
        created_at=NOW,
        updated_at=NOW - timedelta(seconds=changed),
        errand=errand,
        entries=(
            Entry(source=Source(upload="u0")),
            Entry(source=Source(upload="u1")),
            Entry(source=Source(url="https://e.org")),
        ),
        submitted=submitted,
    )
    return StoredBatch("b1", 2, made)


MARKER = Stored("j9", 9, None)


class Yard:
    """A blob store whose files are as old as a test wants."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"file://{folder}/blobs"
        self.blobs = BlobStore(open_store(self.url))
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def put(self, *keys: str, age: float = 2 * DAY) -> None:
        at = NOW.timestamp() - age
        for key in keys:
            path = self._folder / "blobs" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            os.utime(path, (at, at))

    def work(self, name: str, *, age: float) -> Path:
        """A scratch folder with a file in it."""
        folder = self.scratch / name
        folder.mkdir()
        (folder / "file").touch()
        for path in (folder / "file", folder):
            os.utime(path, (NOW.timestamp() - age,) * 2)
        return folder

    def left(self) -> list[str]:
        root = self._folder / "blobs"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    async def sweep(self, books: Books, **settings: float) -> Removed:
        janitor = Janitor(
            blobs=self.blobs,
            blobs_url=self.url,
            records=books,
            scratch_dir=self.scratch,
            upload_seconds=settings.get("uploads", DAY),
            orphan_seconds=settings.get("orphans", DAY),
        )
        return await janitor.run_once(NOW)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


UPLOAD = ["uploads/u1", "uploads/u1.json"]


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (job(Status.SCHEDULED), True),
        (job(Status.PENDING), True),
        (job(Status.PENDING, held_at=NOW), True),
        (job(Status.PROCESSING, track=TRACK), True),
        (job(Status.FAILED, ended=0.9 * DAY), True),
        (job(Status.CANCELLED, ended=0.9 * DAY), True),
        (job(Status.FAILED, ended=1.1 * DAY), False),
        (job(Status.CANCELLED, ended=1.1 * DAY), False),
        (job(Status.COMPLETED, ended=60.0, result=RESULT), False),
        (job(Status.PENDING, source=Source(upload="another")), False),
        (batch(1), True),
        (batch(2), False),
        (batch(1, changed=1.1 * DAY, errand=Errand.SUBMIT), True),
        (batch(1, changed=1.1 * DAY), False),
        (MARKER, False),
    ],
)
async def test_an_old_upload_stays_as_long_as_a_job_may_want_it(
    yard: Yard, record: Stored | StoredBatch, *, kept: bool
) -> None:
    yard.put(*UPLOAD)
    removed = await yard.sweep(Books(record))
    assert yard.left() == (UPLOAD if kept else [])
    assert removed.uploads == (not kept)


async def test_a_young_upload_is_nobody_s_yet(yard: Yard) -> None:
    yard.put(*UPLOAD, age=0.9 * DAY)
    yard.put("uploads/u2.json", age=2 * DAY)
    yard.put("uploads/u2", age=0.5 * DAY)
    assert await yard.sweep(Books(MARKER)) == Removed()
    assert len(yard.left()) == 4


NAMED = [
    "results/r1/peaks.json",
    "results/r1/vocals.flac",
    "tracks/t1/audio.f32",
    "tracks/t1/original.mp3",
    "tracks/t1/track.json",
    "work/j1/1/chunk-0",
]
ORPHANED = [
    "results/r2/vocals.flac",
    "tracks/t2/audio.f32",
    "tracks/t2/track.json",
    "work/j2/1/chunk-0",
    "work/j2/2/chunk-7",
]


async def test_what_no_record_names_goes_and_what_one_names_stays(yard: Yard) -> None:
    yard.put(*NAMED, *ORPHANED)
    done = job(Status.PROCESSING, track=TRACK, result=RESULT)
    removed = await yard.sweep(Books(done, MARKER, batch(3)))
    assert removed == Removed(tracks=1, results=1, work=1)
    assert yard.left() == NAMED


async def test_late_chunks_of_a_job_that_has_long_ended_go(yard: Yard) -> None:
    yard.put(*NAMED)
    removed = await yard.sweep(Books(job(Status.FAILED, ended=2 * DAY, track=TRACK, result=RESULT)))
    assert removed == Removed(work=1)
    assert yard.left() == NAMED[:-1]


async def test_one_young_file_keeps_all_that_belongs_to_it(yard: Yard) -> None:
    yard.put(*ORPHANED)
    yard.put("tracks/t2/track.json", "results/r2/peaks.json", "work/j2/3/chunk-1", age=60.0)
    assert await yard.sweep(Books(MARKER)) == Removed()


async def test_what_is_touched_while_the_records_are_read_stays(yard: Yard) -> None:
    yard.put(*ORPHANED)
    books = Books(MARKER)
    books.meanwhile = lambda: yard.put("tracks/t2/track.json", "results/r2/peaks.json", age=0.0)
    assert await yard.sweep(books) == Removed(work=1)
    assert "tracks/t2/audio.f32" in yard.left()


@pytest.mark.parametrize("failure", [ConnectionError("away"), UndecodableError("of tomorrow")])
@pytest.mark.parametrize("first", [[], [MARKER]])
async def test_nothing_goes_while_not_every_record_can_be_read(
    yard: Yard, failure: Exception, first: list[Stored]
) -> None:
    yard.put(*ORPHANED, *UPLOAD)
    removed = await yard.sweep(Books(*first, failure))
    assert str(failure) in removed.reason
    assert yard.left() == sorted((*ORPHANED, *UPLOAD))


async def test_without_any_record_no_song_is_taken_for_forgotten(yard: Yard) -> None:
    """A broker that lost its disk must not cost the songs as well."""
    yard.put(*ORPHANED, *UPLOAD)
    assert await yard.sweep(Books()) == Removed(uploads=1)
    assert yard.left() == ORPHANED


async def test_orphans_may_be_left_alone(yard: Yard) -> None:
    yard.put(*ORPHANED, *UPLOAD)
    assert await yard.sweep(Books(MARKER), orphans=0.0) == Removed(uploads=1)
    assert yard.left() == ORPHANED


async def test_what_has_no_name_of_ours_is_not_ours(yard: Yard) -> None:
    strange = ["other/x", "results/.hidden/x", "tracks/a b/x", "uploads/a.b.json"]
    yard.put(*strange)
    assert await yard.sweep(Books(MARKER)) == Removed()
    assert yard.left() == strange


async def test_what_killed_processes_left_goes_by_its_age(yard: Yard) -> None:
    old = [yard.work(name, age=2 * DAY) for name in ("download-a", "encode-b")]
    young = [yard.work(name, age=0.5 * DAY) for name in ("download-c", "encode-d")]
    alive = yard.work("download-e", age=2 * DAY)
    (alive / "file").write_bytes(b"still growing")
    others = yard.work("separator", age=2 * DAY)
    yard.put("tracks/t3/audio.f32#1")
    yard.put("tracks/t3/audio.f32#2", age=60.0)
    # Whatever the records say.
    removed = await yard.sweep(Books(ConnectionError("away")), uploads=1.0)
    assert (removed.scratch, removed.unfinished) == (2, 1)
    assert not any(folder.exists() for folder in old)
    assert all(folder.exists() for folder in (*young, alive, others))
    assert yard.left() == ["tracks/t3/audio.f32#2"]


async def test_two_janitors_do_no_harm(yard: Yard) -> None:
    yard.put(*NAMED, *ORPHANED, *UPLOAD)
    books = Books(job(Status.PROCESSING, track=TRACK, result=RESULT, source=Source(upload="u")))
    root = yard.scratch.parent / "blobs"

    def the_other() -> None:
        for key in ORPHANED[:3]:
            (root / key).unlink()

    books.meanwhile = the_other
    await yard.sweep(books)
    assert yard.left() == NAMED
