"""The blob store: bytes by key, in a local folder or in S3, by one code (obstore).

Keys travel on the bus; audio never does.  Writes are atomic: a key has all of its bytes or
does not exist.  ``BlobStore`` is for event loops, ``BlockingBlobs`` for child processes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from shared.contracts.subjects import token
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from obstore.store import ObjectStore

    from shared.contracts.audio import Cover

#: Bytes read or written at once when a blob is streamed: bounds memory, keeps calls few.
PIECE_BYTES: Final = 1 << 20
#: Parts of 5 MiB of a large file that a child stores at once: obstore's own twelve would be most of
#: what a finalization holds in memory, and two keep one on its way while the next is read.
PARTS_AT_ONCE: Final = 2
#: What obstore calls a file in a local folder that is being written: the key's, and a number.
_UNFINISHED: Final = re.compile(r"#\d+\Z")
#: What a store raises for a key that is not there: obstore's own error, or (folders) Python's.
MISSING: Final = (NotFoundError, FileNotFoundError)


class BlobInfo(NamedTuple):
    """What the store knows of a blob without reading it."""

    key: str
    size: int
    etag: str
    modified: datetime


#: How a file system says that it syncs no such thing: some do no folders.
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP})
#: How obstore passes on ENOSPC and EDQUOT: in words.
_FULL: Final = ("No space left on device", "Disk quota exceeded")


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except MISSING as exc:
        raise TerminalError(Code.BLOB_MISSING, key) from exc
    except BaseError as exc:
        full = any(words in str(exc) for words in _FULL)
        code = Code.STORAGE_FULL if full else Code.STORAGE_UNAVAILABLE
        raise RetryableError(code, key) from exc
    except OSError as exc:
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
        code = Code.STORAGE_FULL if full else Code.STORAGE_UNAVAILABLE
        raise RetryableError(code, f"{key}: {exc.strerror or exc}") from exc


def open_store(url: str) -> ObjectStore:
    """The store at ``url``: ``file:///absolute/folder`` (made if need be) or ``s3://bucket/prefix``.

    S3's endpoint, region and credentials come from the usual ``AWS_*`` variables.
    """
    folder = _local_folder(url)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # Not with automatic_cleanup: it takes folders away that somebody is about to write to.
        return LocalStore(prefix=folder)
    return from_url(url)


def _local_folder(url: str) -> Path | None:
    return Path(url.removeprefix("file://")) if url.startswith("file://") else None


def free_bytes(blobs_url: str) -> int | None:
    """Bytes that may still be written to a local store; None for any other, which may tell nobody.

    Asks the operating system: call it in a thread where the folder may lie on the network.
    """
    folder = _local_folder(blobs_url)
    return None if folder is None else free_bytes_of(folder)


def free_bytes_of(folder: Path) -> int | None:
    """Bytes that may still be written below ``folder``; None where that can't be told."""
    # Nothing may have been stored yet: then the disk is that of the folder it will lie in.
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        found = os.statvfs(there)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def sweep_unfinished(blobs_url: str, before: datetime) -> int:
    """Remove what killed processes were writing to a local store; how many files that were.

    They bear no key, so nobody would find them.  Folders go too that have been empty for as long:
    there is one for each song that ever was.  S3 has lifecycle rules for its own.
    """
    folder = _local_folder(blobs_url)
    if folder is None:
        return 0
    removed, then = 0, before.timestamp()
    for place, _, names in os.walk(folder, topdown=False):
        here = Path(place)
        for name in filter(_UNFINISHED.search, names):
            with suppress(OSError):  # somebody else was quicker
                if (here / name).stat().st_mtime < then:
                    (here / name).unlink()
                    removed += 1
        # What lies directly in the store is few and always needed.
        if folder not in {here, here.parent}:
            with suppress(OSError):  # it is not empty
                if here.stat().st_mtime < then:
                    here.rmdir()
    return removed


def _settle(store: ObjectStore, key: str) -> None:
    """Have the disk hold what was put into a local store, before anybody is told that it is there.

    obstore leaves that to the system, which takes half a minute; a record on the broker's disk
    would outlive a power cut that the file does not.
    """
    if not isinstance(store, LocalStore):
        return
    root = Path(str(store.prefix))
    path = root / key
    for place in (path, *path.parents):
        with suppress(FileNotFoundError):  # somebody has removed it already
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            except OSError as exc:
                if exc.errno not in _NO_SYNC:
                    raise
            finally:
                os.close(descriptor)
        if place == root:
            return


class BlobStore:
    """The blob store for an event loop: nothing here blocks it.

    What was put is on the disk, power cut or not.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what was there."""
        with _translated(key):
            await obstore.put_async(self._store, key, data)
            await asyncio.to_thread(_settle, self._store, key)

    async def put_stream(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        """Store what ``pieces`` yields; if it raises, nothing is stored and the error passes."""
        with _translated(key):
            await obstore.put_async(self._store, key, pieces)
            await asyncio.to_thread(_settle, self._store, key)

    async def get(self, key: str) -> bytes:
        """All bytes of a small blob."""
        with _translated(key):
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes ``start`` up to ``end``."""
        with _translated(key):
            return bytes(await obstore.get_range_async(self._store, key, start=start, end=end))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` up to ``end`` in pieces of at most ``PIECE_BYTES``."""
        position = start
        while position < end:
            piece = await self.get_range(key, position, min(end, position + PIECE_BYTES))
            yield piece
            position += len(piece)

    async def info(self, key: str) -> BlobInfo | None:
        """Size, tag and age of a blob, or None if there is no such blob."""
        with _translated(key):
            try:
                meta = await obstore.head_async(self._store, key)
            except MISSING:
                return None
        return BlobInfo(key, meta["size"], meta["e_tag"] or "", meta["last_modified"])

    async def whole(self, key: str, size: int | None = None) -> BlobInfo:
        """What is known of a blob that must be there and hold something, so many bytes if said.

        ``blob.missing`` or ``blob.corrupt`` if it is otherwise.
        """
        info = await self.info(key)
        if info is None:
            raise TerminalError(Code.BLOB_MISSING, key)
        if info.size == 0 or size not in {None, info.size}:
            raise TerminalError(Code.BLOB_CORRUPT, f"{key}: {info.size} bytes")
        return info

    async def under(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Every blob whose key begins with ``prefix``, a whole path segment."""
        with _translated(prefix):
            async for batch in obstore.list(self._store, prefix):
                for meta in batch:
                    tag = meta["e_tag"] or ""
                    yield BlobInfo(meta["path"], meta["size"], tag, meta["last_modified"])

    async def delete(self, keys: list[str]) -> None:
        """Remove blobs; one that is gone already is no error."""
        for key in keys:
            with _translated(key):
                try:
                    await obstore.delete_async(self._store, key)
                except MISSING:
                    continue

    async def delete_untouched(self, prefix: str, before: datetime, *, first: str = "") -> int:
        """Remove everything under ``prefix``; how many blobs that were.

        Nothing at all if something there was stored or touched at or after ``before``.

        ``first`` is the key that makes the whole valid: it goes first, so that what is left of a
        removal that broke off can't be taken for something whole.  Whoever finds a whole and
        means to use it touches it (see ``touch``) and then looks again.
        """
        found = [info async for info in self.under(prefix)]
        if any(info.modified >= before for info in found):
            return 0
        keys = sorted((info.key for info in found), key=lambda key: (key != first, key))
        await self.delete(keys)
        return len(keys)

    async def touch(self, key: str) -> None:
        """Store a small blob again as it is: by its age it is known whether it is in use."""
        await self.put(key, await self.get(key))


class BlockingBlobs:
    """The blob store for a child process, whose whole duty is to compute and to wait."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(
        self, key: str, data: bytes | bytearray | memoryview | Path, *, lasting: bool = True
    ) -> None:
        """Store bytes, or a file's bytes, under ``key``.

        What is not ``lasting`` may be gone or cut off after a power cut: whoever reads it looks.
        """
        with _translated(key):
            obstore.put(self._store, key, data, max_concurrency=PARTS_AT_ONCE)
            if lasting:
                _settle(self._store, key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes ``start`` up to ``end``."""
        if start == end:
            return b""
        with _translated(key):
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def size(self, key: str) -> int:
        """Length of a blob in bytes."""
        with _translated(key):
            return obstore.head(self._store, key)["size"]


def upload_key(upload: str) -> str:
    """An uploaded file as it was sent."""
    return f"uploads/{token(upload)}"


def upload_note_key(upload: str) -> str:
    """What is known of an uploaded file: an ``Upload`` as JSON; may be absent."""
    return f"uploads/{token(upload)}.json"


def track_prefix(track: str) -> str:
    """Everything of one track."""
    return f"tracks/{token(track)}/"


def track_audio_key(track: str) -> str:
    """The canonical PCM of a track."""
    return f"tracks/{token(track)}/audio.f32"


def track_original_key(track: str, extension: str) -> str:
    """The source of a track, as it came."""
    return f"tracks/{token(track)}/original.{token(extension)}"


def track_cover_key(cover: Cover) -> str:
    """A picture of a track; its sources may have brought several."""
    return f"tracks/{token(cover.track)}/cover-{token(cover.id)}"


def track_record_key(track: str) -> str:
    """What is known of a track; written last, so where it is, the track is whole."""
    return f"tracks/{token(track)}/track.json"


def work_prefix(job: str) -> str:
    """Everything temporary of one job."""
    return f"work/{token(job)}/"


def chunk_key(run: str, attempt: int, chunk: int) -> str:
    """What one chunk contributes to the stems."""
    return f"work/{token(run)}/{attempt}/chunk-{chunk}"


def result_prefix(result: str) -> str:
    """Everything of one result."""
    return f"results/{token(result)}/"


def stem_key(result: str, stem: str, extension: str) -> str:
    """One encoded stem."""
    return f"results/{token(result)}/{token(stem)}.{token(extension)}"


def peaks_key(result: str) -> str:
    """The waveform peaks of all stems of a result."""
    return f"results/{token(result)}/peaks.json"
