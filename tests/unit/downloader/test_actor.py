"""The downloader as the host sees it: work in, a fact out, and what lies in the store then."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from services.downloader.actor import Downloader
from services.downloader.core import TrackRecord
from services.downloader.janitor import Janitor
from shared.blobs import (
    BlobStore,
    open_store,
    track_audio_key,
    track_original_key,
    track_prefix,
    track_record_key,
    upload_key,
    upload_note_key,
)
from shared.contracts.live import Activity
from shared.contracts.request import Source, Upload
from shared.contracts.work import DownloadWork, Stage
from shared.errors import Code, StembusError, TerminalError
from tests.support.media import song, write_audio
from tests.support.processes import children_of

if TYPE_CHECKING:
    from services.downloader.children import ChildDecoder, ChildFetcher
    from services.downloader.config import DownloaderConfig
    from tests.support.site import Site


class Ear:
    """A ``Report`` that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[Activity, float | None, str]] = []

    def __call__(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        self.heard.append((activity, fraction, note))

    @property
    def activities(self) -> list[Activity]:
        return list(dict.fromkeys(activity for activity, _, _ in self.heard))

    @property
    def fractions(self) -> list[float]:
        return [fraction for _, fraction, _ in self.heard if fraction is not None]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(open_store(f"file://{tmp_path}/blobs"))


@pytest.fixture
def downloader(
    blobs: BlobStore, fetcher: ChildFetcher, decoder: ChildDecoder, config: DownloaderConfig
) -> Downloader:
    return Downloader(
        blobs=blobs,
        fetcher=fetcher,
        decoder=decoder,
        scratch_dir=Path(config.scratch_dir),
        max_source_bytes=config.max_source_bytes,
    )


def work(url: str | None = None, upload: str | None = None) -> DownloadWork:
    return DownloadWork(job_id="job-1", attempt=3, source=Source(url=url, upload=upload))


async def put_upload(blobs: BlobStore, name: str, data: bytes, filename: str | None) -> None:
    await blobs.put(upload_key(name), data)
    if filename is not None:
        note = Upload(filename=filename, bytes=len(data))
        await blobs.put(upload_note_key(name), msgspec.json.encode(note))


def left_over(config: DownloaderConfig) -> list[Path]:
    return list(Path(config.scratch_dir).iterdir())


async def test_a_url_becomes_a_track(
    downloader: Downloader, blobs: BlobStore, site: Site, config: DownloaderConfig
) -> None:
    ear = Ear()
    fact = await downloader.perform(work(f"{site.base}/media/song.mp3"), ear)
    assert (fact.job_id, fact.stage, fact.unit, fact.attempt) == (
        "job-1", Stage.DOWNLOAD, "source", 3,
    )  # fmt: skip
    assert fact.track.frames == 88_200
    assert fact.track.original == "mp3, 44100 Hz, 2 ch"
    assert (fact.metadata.title, fact.metadata.artist) == ("Tag", "Tagged")
    pcm = np.frombuffer(await blobs.get(track_audio_key(fact.track.id)), "<f4").reshape(-1, 2)
    assert len(pcm) == 88_200
    assert fact.track.std == pytest.approx(float(pcm.mean(axis=1).std(ddof=1)), rel=1e-5)
    original = await blobs.get(track_original_key(fact.track.id, "mp3"))
    assert original[:3] == b"ID3"
    record = msgspec.json.decode(await blobs.get(track_record_key(fact.track.id)), type=TrackRecord)
    assert record == TrackRecord(track=fact.track, metadata=fact.metadata, extension="mp3")
    assert ear.activities == [Activity.FETCHING, Activity.DECODING, Activity.STORING]
    assert ear.fractions == sorted(ear.fractions)
    assert ear.fractions[-1] == 1.0
    assert left_over(config) == []


async def test_an_upload_becomes_a_track_named_after_its_file(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    data = write_audio(tmp_path / "a.wav", song(1.0)).read_bytes()
    await put_upload(blobs, "up-1", data, "My_Song.WAV")
    ear = Ear()
    fact = await downloader.perform(work(upload="up-1"), ear)
    assert (fact.metadata.title, fact.metadata.extractor) == ("My Song", "upload")
    assert fact.metadata.duration == 1.0
    assert await blobs.get(track_original_key(fact.track.id, "wav")) == data
    assert ear.fractions == sorted(ear.fractions)


async def test_an_uploads_tags_are_better_than_its_name(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    tags = {"title": "Tagged", "artist": "Someone"}
    data = write_audio(tmp_path / "a.flac", song(1.0), tags=tags).read_bytes()
    await put_upload(blobs, "up-1", data, "track01.flac")
    fact = await downloader.perform(work(upload="up-1"), Ear())
    assert (fact.metadata.title, fact.metadata.artist) == ("Tagged", "Someone")


@pytest.mark.parametrize("note", [None, b"no json"])
async def test_an_upload_without_a_note_is_taken_all_the_same(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path, note: bytes | None
) -> None:
    data = write_audio(tmp_path / "a.flac", song(1.0)).read_bytes()
    await put_upload(blobs, "up-1", data, None)
    if note is not None:
        await blobs.put(upload_note_key("up-1"), note)
    fact = await downloader.perform(work(upload="up-1"), Ear())
    assert fact.metadata.title is None
    assert await blobs.info(track_original_key(fact.track.id, "flac")) is not None


@pytest.mark.parametrize("upload", ["gone", "not/a/token"])
async def test_a_missing_upload_is_said_to_be_missing(downloader: Downloader, upload: str) -> None:
    with pytest.raises(TerminalError) as caught:
        await downloader.perform(work(upload=upload), Ear())
    assert caught.value.code is Code.SOURCE_UPLOAD_MISSING


async def test_a_large_upload_is_not_even_read(downloader: Downloader, blobs: BlobStore) -> None:
    await put_upload(blobs, "up-1", bytes(3_000_000), None)
    with pytest.raises(TerminalError) as caught:
        await downloader.perform(work(upload="up-1"), Ear())
    assert caught.value.code is Code.SOURCE_TOO_LARGE


async def test_the_same_sound_is_stored_once(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    for name in ("one.wav", "two.flac"):
        await put_upload(
            blobs, name[:3], write_audio(tmp_path / name, song(1.0)).read_bytes(), name
        )
    first = await downloader.perform(work(upload="one"), Ear())
    stored = {info.key: info.modified async for info in blobs.under(track_prefix(first.track.id))}
    second = await downloader.perform(work(upload="two"), Ear())
    assert second.track.id == first.track.id
    assert second.metadata.title == "two"
    again = {info.key: info.modified async for info in blobs.under(track_prefix(first.track.id))}
    assert again == stored
    assert len(stored) == 3


async def test_a_failure_leaves_nothing_behind(
    downloader: Downloader, blobs: BlobStore, site: Site, config: DownloaderConfig
) -> None:
    with pytest.raises(StembusError) as caught:
        await downloader.perform(work(f"{site.base}/status/404"), Ear())
    assert caught.value.code is Code.SOURCE_NOT_FOUND
    assert left_over(config) == []
    assert [info async for info in blobs.under("tracks")] == []


async def test_a_cancelled_download_leaves_nothing_behind(
    downloader: Downloader, site: Site, config: DownloaderConfig
) -> None:
    site.stalling.clear()
    before = children_of(os.getpid())
    task = asyncio.create_task(downloader.perform(work(f"{site.base}/stall.mp3"), Ear()))
    assert await asyncio.to_thread(site.stalling.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert children_of(os.getpid()) == before
    assert left_over(config) == []


async def test_the_janitor_removes_what_is_a_day_old(blobs: BlobStore, tmp_path: Path) -> None:
    await put_upload(blobs, "up-1", b"x", "a.mp3")
    folder = tmp_path / "download-abc"
    folder.mkdir()
    janitor = Janitor(blobs=blobs, scratch_dir=tmp_path, keep_seconds=86_400)
    now = datetime.now(UTC)
    assert await janitor.run_once(now + timedelta(hours=23)) == 0
    assert folder.exists()
    assert await janitor.run_once(now + timedelta(hours=25)) == 2
    assert [info async for info in blobs.under("uploads")] == []
    assert not folder.exists()
    assert (tmp_path / "blobs").exists()
