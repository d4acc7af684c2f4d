"""The downloader as the host sees it: work in, a fact out, and what lies in the store then."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from services.downloader.actor import Downloader
from services.downloader.core import TrackRecord
from shared.blobs import (
    BlobStore,
    open_store,
    track_audio_key,
    track_cover_key,
    track_original_key,
    track_prefix,
    track_record_key,
    upload_key,
    upload_note_key,
)
from shared.contracts.facts import Downloaded, Expanded
from shared.contracts.live import Activity
from shared.contracts.request import Source, Upload
from shared.contracts.work import DownloadWork, ExpandWork, Stage
from shared.errors import Code, StembusError, TerminalError
from tests.support.media import picture, song, write_audio, write_covered
from tests.support.processes import children_of

if TYPE_CHECKING:
    from services.downloader.children import ChildDecoder, ChildExpander, ChildFetcher
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
    blobs: BlobStore,
    fetcher: ChildFetcher,
    expander: ChildExpander,
    decoder: ChildDecoder,
    config: DownloaderConfig,
) -> Downloader:
    return Downloader(
        blobs=blobs,
        fetcher=fetcher,
        expander=expander,
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


async def taken(downloader: Downloader, order: DownloadWork, ear: Ear) -> Downloaded:
    fact = await downloader.perform(order, ear)
    assert isinstance(fact, Downloaded)
    return fact


def left_over(config: DownloaderConfig) -> list[Path]:
    return list(Path(config.scratch_dir).iterdir())


async def test_a_url_becomes_a_track(
    downloader: Downloader, blobs: BlobStore, site: Site, config: DownloaderConfig
) -> None:
    ear = Ear()
    fact = await taken(downloader, work(f"{site.base}/media/song.mp3"), ear)
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


async def test_a_sites_picture_lies_beside_the_track(
    downloader: Downloader, blobs: BlobStore, site: Site, media: Path
) -> None:
    plain = await taken(downloader, work(f"{site.base}/song.html"), Ear())
    assert plain.metadata.cover is None
    # The same sound: the track is there already, and gets its picture.
    fact = await taken(downloader, work(f"{site.base}/covered.html"), Ear())
    assert fact.track == plain.track
    cover = fact.metadata.cover
    assert cover is not None
    assert (cover.track, cover.picture.value) == (fact.track.id, "jpg")
    data = (media / "cover.jpg").read_bytes()
    assert await blobs.get(track_cover_key(cover)) == data
    assert cover.bytes == len(data)


async def test_a_files_own_picture_is_kept_and_each_of_the_same_sound_its_own(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    found = []
    for number in range(2):
        data = picture("png", seed=number)
        path = write_covered(tmp_path / "a.flac", song(1.0), data, codec="png")
        await put_upload(blobs, f"up-{number}", path.read_bytes(), "a.flac")
        fact = await taken(downloader, work(upload=f"up-{number}"), Ear())
        assert fact.metadata.cover is not None
        assert await blobs.get(track_cover_key(fact.metadata.cover)) == data
        found.append(fact)
    one, two = found
    assert one.track.id == two.track.id
    assert one.metadata.cover != two.metadata.cover
    # A picture is no original: without one the track is not whole.
    prefix = track_prefix(one.track.id)
    originals = [info.key async for info in blobs.under(prefix) if "original" in info.key]
    await blobs.delete(originals)
    await taken(downloader, work(upload="up-1"), Ear())
    assert originals == [info.key async for info in blobs.under(prefix) if "original" in info.key]


async def test_an_upload_becomes_a_track_named_after_its_file(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    data = write_audio(tmp_path / "a.wav", song(1.0)).read_bytes()
    await put_upload(blobs, "up-1", data, "My_Song.WAV")
    ear = Ear()
    fact = await taken(downloader, work(upload="up-1"), ear)
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
    fact = await taken(downloader, work(upload="up-1"), Ear())
    assert (fact.metadata.title, fact.metadata.artist) == ("Tagged", "Someone")


@pytest.mark.parametrize("note", [None, b"no json"])
async def test_an_upload_without_a_note_is_taken_all_the_same(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path, note: bytes | None
) -> None:
    data = write_audio(tmp_path / "a.flac", song(1.0)).read_bytes()
    await put_upload(blobs, "up-1", data, None)
    if note is not None:
        await blobs.put(upload_note_key("up-1"), note)
    fact = await taken(downloader, work(upload="up-1"), Ear())
    assert fact.metadata.title is None
    assert await blobs.info(track_original_key(fact.track.id, "flac")) is not None


@pytest.mark.parametrize("upload", ["gone", "not/a/token"])
async def test_a_missing_upload_is_said_to_be_missing(downloader: Downloader, upload: str) -> None:
    with pytest.raises(TerminalError) as caught:
        await taken(downloader, work(upload=upload), Ear())
    assert caught.value.code is Code.SOURCE_UPLOAD_MISSING


async def test_a_large_upload_is_not_even_read(downloader: Downloader, blobs: BlobStore) -> None:
    await put_upload(blobs, "up-1", bytes(3_000_000), None)
    with pytest.raises(TerminalError) as caught:
        await taken(downloader, work(upload="up-1"), Ear())
    assert caught.value.code is Code.SOURCE_TOO_LARGE


async def two_uploads(blobs: BlobStore, folder: Path) -> None:
    """The same sound in two files."""
    for name in ("one.wav", "two.flac"):
        data = write_audio(folder / name, song(1.0)).read_bytes()
        await put_upload(blobs, name[:3], data, name)


async def stored(blobs: BlobStore, track: str) -> dict[str, datetime]:
    return {info.key: info.modified async for info in blobs.under(track_prefix(track))}


async def test_the_same_sound_is_stored_once_and_touched(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    await two_uploads(blobs, tmp_path)
    first = (await taken(downloader, work(upload="one"), Ear())).track
    for key in await stored(blobs, first.id):
        os.utime(tmp_path / "blobs" / key, (0, 0))
    before = await stored(blobs, first.id)
    fact = await taken(downloader, work(upload="two"), Ear())
    same = msgspec.structs.replace(first, original="flac, 44100 Hz, 2 ch")
    assert fact.track == same
    assert fact.metadata.title == "two"
    after = await stored(blobs, first.id)
    record = track_record_key(first.id)
    assert after.pop(record) > before.pop(record)
    assert after == before
    assert len(after) == 2


async def test_a_track_says_how_much_room_it_takes(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path
) -> None:
    await two_uploads(blobs, tmp_path)
    one = await taken(downloader, work(upload="one"), Ear())
    record = msgspec.json.decode(await blobs.get(track_record_key(one.track.id)), type=TrackRecord)
    assert record.track == one.track
    sizes = {info.key: info.size async for info in blobs.under(track_prefix(one.track.id))}
    assert one.track.stored_bytes == sum(sizes.values()) - sizes[track_record_key(one.track.id)]


@pytest.mark.parametrize("gone", ["track.json", "audio.f32", "original.wav"])
async def test_a_track_that_is_not_whole_is_stored_anew(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path, gone: str
) -> None:
    await two_uploads(blobs, tmp_path)
    first = (await taken(downloader, work(upload="one"), Ear())).track
    await blobs.delete([track_prefix(first.id) + gone])
    again = (await taken(downloader, work(upload="one"), Ear())).track
    assert again == first
    assert len(await stored(blobs, first.id)) == 3


async def test_a_track_that_is_being_removed_is_stored_anew(
    downloader: Downloader, blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_uploads(blobs, tmp_path)
    first = (await taken(downloader, work(upload="one"), Ear())).track
    touch = blobs.touch

    async def just_then(key: str) -> None:
        await touch(key)
        await blobs.delete([track_audio_key(first.id)])

    monkeypatch.setattr(blobs, "touch", just_then)
    again = (await taken(downloader, work(upload="one"), Ear())).track
    assert again == first
    assert len(await stored(blobs, first.id)) == 3


async def test_a_failure_leaves_nothing_behind(
    downloader: Downloader, blobs: BlobStore, site: Site, config: DownloaderConfig
) -> None:
    with pytest.raises(StembusError) as caught:
        await taken(downloader, work(f"{site.base}/status/404"), Ear())
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


async def test_a_playlist_becomes_its_entries(
    downloader: Downloader, site: Site, media: Path, config: DownloaderConfig
) -> None:
    (media / "actor.m3u").write_text("song.mp3\nb.mp3\nfile:///etc/passwd\n")
    order = ExpandWork(
        job_id="batch-1", attempt=2, playlist=f"{site.base}/media/actor.m3u", limit=1
    )
    fact = await downloader.perform(order, Ear())
    assert isinstance(fact, Expanded)
    assert (fact.job_id, fact.stage, fact.unit, fact.attempt) == (
        "batch-1", Stage.DOWNLOAD, "playlist", 2,
    )  # fmt: skip
    assert [one.source.url for one in fact.entries] == [f"{site.base}/media/song.mp3"]
    assert [(one.entry, one.problem.code) for one in fact.skipped] == [
        (f"{site.base}/media/b.mp3", Code.BATCH_TOO_LONG),
        ("file:///etc/passwd", Code.SOURCE_SCHEME),
    ]
    assert left_over(config) == []


async def test_a_refusal_says_which_site_it_was(downloader: Downloader, site: Site) -> None:
    with pytest.raises(StembusError) as caught:
        await taken(downloader, work(f"{site.base}/status/429?after=7"), Ear())
    assert (caught.value.code, caught.value.site) == (Code.SOURCE_RATE_LIMITED, "127.0.0.1")
