"""The blob store over a folder: whole blobs or none, and errors with codes."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from shared import blobs as blobs_module
from shared.blobs import (
    BlobStore,
    BlockingBlobs,
    chunk_key,
    free_bytes,
    open_store,
    peaks_key,
    result_prefix,
    stem_key,
    sweep_unfinished,
    track_audio_key,
    track_original_key,
    track_prefix,
    track_record_key,
    upload_key,
    upload_note_key,
    work_prefix,
)
from shared.child import ROOT
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(folder: Path) -> BlobStore:
    return BlobStore(open_store(folder.as_uri()))


@pytest.fixture
def blocking(folder: Path) -> BlockingBlobs:
    return BlockingBlobs(open_store(folder.as_uri()))


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def keys(store: BlobStore, prefix: str) -> list[str]:
    return sorted([info.key async for info in store.under(prefix)])


@pytest.mark.parametrize("data", [b"", b"x", b"\x00" * 3_000_000])
async def test_what_is_put_is_there_as_it_was(store: BlobStore, data: bytes) -> None:
    await store.put("a/b", data)
    assert data == await store.get("a/b")
    info = await store.info("a/b")
    assert info is not None
    assert ("a/b", len(data)) == (info.key, info.size)
    assert info.etag


async def test_what_was_there_is_replaced_and_its_tag_changes(store: BlobStore) -> None:
    await store.put("a", b"one")
    before = await store.info("a")
    await store.put("a", b"other")
    after = await store.info("a")
    assert await store.get("a") == b"other"
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


async def test_a_stream_is_stored_whole(store: BlobStore) -> None:
    parts = [b"%d" % number * 100_000 for number in range(100)]
    await store.put_stream("a/b", pieces(*parts))
    assert b"".join(parts) == await store.get("a/b")


@pytest.mark.parametrize(
    "error", [TerminalError(Code.REQUEST_TOO_LARGE, "x"), RetryableError(Code.SOURCE_STALLED)]
)
@pytest.mark.parametrize("before", [[], [b"x"], [b"x" * 8_000_000] * 3])
async def test_a_stream_that_breaks_off_leaves_nothing_and_its_error_passes(
    store: BlobStore, folder: Path, error: StembusError, before: list[bytes]
) -> None:
    with pytest.raises(type(error)) as caught:
        await store.put_stream("a/b", pieces(*before, error))
    assert error.code == caught.value.code
    assert await store.info("a/b") is None
    assert files(folder) == []


async def test_a_stream_that_breaks_off_leaves_what_was_there(store: BlobStore) -> None:
    await store.put("a", b"old")
    with pytest.raises(TerminalError):
        await store.put_stream("a", pieces(b"new", TerminalError(Code.SOURCE_EMPTY)))
    assert await store.get("a") == b"old"


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10), (3, 7), (9, 10)])
async def test_a_range_is_the_bytes_it_names(
    store: BlobStore, blocking: BlockingBlobs, start: int, end: int
) -> None:
    data = b"0123456789"
    await store.put("a", data)
    assert data[start:end] == await store.get_range("a", start, end)
    assert data[start:end] == blocking.get_range("a", start, end)


async def test_a_stream_out_comes_in_pieces(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_module, "PIECE_BYTES", 4)
    await store.put("a", b"0123456789")
    assert [piece async for piece in store.stream("a", 1, 10)] == [b"1234", b"5678", b"9"]
    assert [piece async for piece in store.stream("a", 3, 3)] == []


async def test_a_stream_that_asks_for_more_than_there_is_ends_with_an_error(
    store: BlobStore,
) -> None:
    """A blob that shrinks while it is sent must not be waited for."""
    await store.put("a", b"0123")
    with pytest.raises(StembusError):
        async for _ in store.stream("a", 0, 10):
            pass


def missing(store: BlobStore) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: store.get("no/such"),
        lambda: store.get_range("no/such", 0, 1),
    ]


@pytest.mark.parametrize("which", range(2))
async def test_a_blob_that_is_not_there_has_a_code(store: BlobStore, which: int) -> None:
    with pytest.raises(TerminalError) as caught:
        await missing(store)[which]()
    assert (caught.value.code, caught.value.detail) == (Code.BLOB_MISSING, "no/such")


def test_a_blob_that_is_not_there_has_a_code_for_a_child_too(blocking: BlockingBlobs) -> None:
    for ask in (lambda: blocking.get_range("no/such", 0, 1), lambda: blocking.size("no/such")):
        with pytest.raises(TerminalError) as caught:
            ask()
        assert caught.value.code == Code.BLOB_MISSING


async def test_a_blob_that_is_not_there_has_no_info(store: BlobStore) -> None:
    assert await store.info("no/such") is None


async def test_a_prefix_is_a_whole_segment(store: BlobStore) -> None:
    for key in ("work/j1/1/chunk-0", "work/j1/2/chunk-0", "work/j10/1/chunk-0", "work/j2/x"):
        await store.put(key, b"")
    assert await keys(store, work_prefix("j1")) == ["work/j1/1/chunk-0", "work/j1/2/chunk-0"]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await store.delete_untouched(work_prefix("j1"), later) == 2
    assert await keys(store, "work/") == ["work/j10/1/chunk-0", "work/j2/x"]
    assert await store.delete_untouched(work_prefix("j1"), later) == 0


async def test_what_is_gone_already_can_be_deleted(store: BlobStore) -> None:
    await store.put("a", b"")
    await store.delete(["a", "b", "a"])
    assert await store.info("a") is None


async def test_what_nobody_touched_goes(store: BlobStore, folder: Path) -> None:
    for key in ("tracks/t/audio.f32", "tracks/t/original.mp3", "tracks/t2/audio.f32"):
        await store.put(key, b"x")
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert await store.delete_untouched(track_prefix("t"), soon) == 2
    assert files(folder) == ["tracks/t2/audio.f32"]
    assert await store.delete_untouched(track_prefix("t"), soon) == 0


async def test_one_touched_blob_keeps_all_that_belongs_to_it(
    store: BlobStore, folder: Path
) -> None:
    for key in (track_audio_key("t"), track_record_key("t")):
        await store.put(key, b"x")
        os.utime(folder / key, (0, 0))
    then = datetime.now(UTC) - timedelta(seconds=60)
    await store.touch(track_record_key("t"))
    assert await store.delete_untouched(track_prefix("t"), then) == 0
    assert await store.get(track_record_key("t")) == b"x"
    assert len(files(folder)) == 2


async def test_a_removal_that_breaks_off_has_removed_what_makes_it_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(open_store(folder.as_uri()))
    for key in (track_audio_key("t"), track_original_key("t", "mp3"), track_record_key("t")):
        await store.put(key, b"x")
    asked: list[str] = []

    async def broken(keys: list[str]) -> None:
        asked.extend(keys)
        raise RetryableError(Code.STORAGE_UNAVAILABLE)

    monkeypatch.setattr(store, "delete", broken)
    soon = datetime.now(UTC) + timedelta(seconds=60)
    with pytest.raises(RetryableError):
        await store.delete_untouched(track_prefix("t"), soon, first=track_record_key("t"))
    assert asked[0] == track_record_key("t")
    assert len(asked) == 3


async def test_putting_and_deleting_side_by_side_lose_nothing(store: BlobStore) -> None:
    """A folder that is empty may be just what another file needs."""

    async def come_and_go(number: int) -> None:
        for _ in range(50):
            await store.put(f"a/b/{number}", b"x")
            await store.delete([f"a/b/{number}"])

    await asyncio.gather(*map(come_and_go, range(4)))
    await store.put("a/b/kept", b"x")
    assert await keys(store, "a") == ["a/b/kept"]


async def test_what_a_killed_process_was_writing_goes_when_it_is_old(
    store: BlobStore, folder: Path
) -> None:
    await store.put("tracks/t/audio.f32", b"x")
    for name in ("audio.f32#1", "audio.f32#23", "audio.f32#mine"):
        (folder / "tracks/t" / name).write_bytes(b"half")
    url, now = folder.as_uri(), datetime.now(UTC)
    assert sweep_unfinished(url, now - timedelta(seconds=60)) == 0
    assert sweep_unfinished(url, now + timedelta(seconds=60)) == 2
    assert files(folder) == ["tracks/t/audio.f32", "tracks/t/audio.f32#mine"]
    assert sweep_unfinished("s3://bucket/prefix", now) == 0


async def test_a_folder_that_has_long_been_empty_goes(store: BlobStore, folder: Path) -> None:
    for key in ("tracks/old/a", "tracks/young/a", "tracks/full/a", "work/j/1/a"):
        await store.put(key, b"x")
    await store.delete(["tracks/old/a", "tracks/young/a", "work/j/1/a"])
    for name in ("tracks/old", "tracks/full", "tracks", "work/j/1", "work/j"):
        os.utime(folder / name, (0, 0))
    then = datetime.now(UTC) - timedelta(seconds=60)
    assert sweep_unfinished(folder.as_uri(), then) == 0
    left = everything(folder)
    # One level at a time: what lost its last folder just now is young again.
    assert left == ["tracks", "tracks/full", "tracks/full/a", "tracks/young", "work", "work/j"]


def test_what_a_stream_leaves_is_what_is_swept(folder: Path) -> None:
    """The name that obstore gives to a file in the making is its own business: see that we know."""
    code = (
        "import asyncio, os, sys\n"
        "from shared.blobs import BlobStore, open_store\n"
        "async def dying():\n"
        "    yield b'x' * 20_000_000\n"
        "    os._exit(9)\n"
        "store = BlobStore(open_store(sys.argv[1]))\n"
        "asyncio.run(store.put_stream('tracks/t/audio.f32', dying()))\n"
    )
    died = subprocess.run([sys.executable, "-c", code, folder.as_uri()], cwd=ROOT, check=False)
    assert died.returncode == 9
    assert len(files(folder)) == 1
    assert sweep_unfinished(folder.as_uri(), datetime.now(UTC) + timedelta(seconds=60)) == 1
    assert files(folder) == []


def test_a_local_store_tells_how_much_room_there_is(folder: Path) -> None:
    free = free_bytes(folder.as_uri())
    found = os.statvfs(folder.parent)
    assert free is not None
    assert 0 < free <= found.f_blocks * found.f_frsize
    assert free_bytes("s3://bucket/prefix") is None


def test_room_that_can_t_be_measured_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> object:
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(os, "statvfs", refused)
    assert free_bytes("file:///") is None


async def test_a_folder_that_refuses_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    store = BlobStore(LocalStore(prefix=tmp_path / "blobs"))
    (tmp_path / "blobs" / "a").write_bytes(b"")
    with pytest.raises(RetryableError) as caught:
        await store.put("a/b", b"under a file there can be nothing")
    assert caught.value.code == Code.STORAGE_UNAVAILABLE


def test_a_child_puts_bytes_and_files(blocking: BlockingBlobs, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"from a file")
    blocking.put("a", b"bytes")
    blocking.put("b", path)
    assert (blocking.size("a"), blocking.size("b"), blocking.get_range("a", 2, 2)) == (5, 11, b"")


KEYS: list[tuple[Callable[[str], str], str]] = [
    (upload_key, "uploads/x"),
    (upload_note_key, "uploads/x.json"),
    (track_prefix, "tracks/x/"),
    (track_audio_key, "tracks/x/audio.f32"),
    (lambda track: track_original_key(track, "mp3"), "tracks/x/original.mp3"),
    (track_record_key, "tracks/x/track.json"),
    (work_prefix, "work/x/"),
    (lambda job: chunk_key(job, 2, 7), "work/x/2/chunk-7"),
    (lambda result: stem_key(result, "vocals", "flac"), "results/x/vocals.flac"),
    (lambda stem: stem_key("r1", stem, "flac"), "results/r1/x.flac"),
    (lambda extension: stem_key("r1", "vocals", extension), "results/r1/vocals.x"),
    (lambda extension: track_original_key("t1", extension), "tracks/t1/original.x"),
    (peaks_key, "results/x/peaks.json"),
    (result_prefix, "results/x/"),
]


@pytest.mark.parametrize(("key", "expected"), KEYS)
def test_a_key_is_made_of_names_that_lead_nowhere_else(
    key: Callable[[str], str], expected: str
) -> None:
    assert expected == key("x")
    for hostile in ("", "..", "a/b", "../x", "a.b", "a\x00", "x" * 65):
        with pytest.raises(ValueError, match="not a subject token"):
            key(hostile)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("No space left on device (os error 28)", Code.STORAGE_FULL),
        ("Disk quota exceeded (os error 122)", Code.STORAGE_FULL),
        ("Input/output error (os error 5)", Code.STORAGE_UNAVAILABLE),
    ],
)
def test_what_the_store_passes_on_of_the_system_in_words_has_its_code(
    said: str, code: Code
) -> None:
    with pytest.raises(RetryableError) as caught, blobs_module._translated("work/j/1/chunk-0"):
        raise BaseError(said)
    assert caught.value.code is code


async def test_what_was_put_is_on_the_disk_and_so_are_the_folders_that_lead_there(
    store: BlobStore, blocking: BlockingBlobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody is told that it is there: a power cut must not take it away."""
    synced: list[Path] = []
    fsync = os.fsync

    def noticing(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(folder))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noticing)
    way = [Path("tracks/t1/audio.f32"), Path("tracks/t1"), Path("tracks"), Path()]
    key = track_audio_key("t1")
    await store.put(key, b"x")
    assert synced == way
    await store.put_stream(key, pieces(b"y"))
    assert synced == way * 2
    blocking.put(key, b"z")
    assert synced == way * 3
    blocking.put(key, b"for now", lasting=False)
    assert synced == way * 3


async def test_a_blob_that_is_removed_while_it_is_put_was_put(
    store: BlobStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def gone(path: Path, flags: int) -> int:
        Path(path).unlink(missing_ok=True) if Path(path).is_file() else None
        return opened(path, flags)

    monkeypatch.setattr(os, "open", gone)
    await store.put(peaks_key("r1"), b"x")
    assert files(folder) == []


@pytest.mark.parametrize("kind", [errno.EIO, errno.ENOSPC, errno.EINVAL])
async def test_a_disk_that_does_not_take_it_says_so_unless_it_never_does(
    store: BlobStore, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(os, "fsync", fail)
    if kind == errno.EINVAL:  # a file system that syncs no folders
        await store.put(peaks_key("r1"), b"x")
        return
    with pytest.raises(RetryableError) as caught:
        await store.put(peaks_key("r1"), b"x")
    full = kind == errno.ENOSPC
    assert caught.value.code is (Code.STORAGE_FULL if full else Code.STORAGE_UNAVAILABLE)


async def test_what_must_be_whole_is_looked_at(store: BlobStore) -> None:
    key = stem_key("r1", "vocals", "flac")
    with pytest.raises(TerminalError) as missing:
        await store.whole(key)
    await store.put(key, b"1234")
    assert (await store.whole(key)).size == (await store.whole(key, 4)).size == 4
    await store.put(peaks_key("r1"), b"")
    with pytest.raises(TerminalError):
        await store.whole(peaks_key("r1"))
    with pytest.raises(TerminalError) as cut:
        await store.whole(key, 5)
    assert (missing.value.code, cut.value.code) == (Code.BLOB_MISSING, Code.BLOB_CORRUPT)
