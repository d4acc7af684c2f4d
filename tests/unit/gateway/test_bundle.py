"""The zip of a finished job, as it is made piece by piece."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from msgspec.structs import replace

from services.gateway import bundle
from services.gateway.bundle import INFO, PLAIN_BYTES, Bundles, length_of
from shared.blobs import PIECE_BYTES, BlobStore, open_store, stem_key, track_cover_key
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import jobs
from tests.support.jobs import COVER

if TYPE_CHECKING:
    from pathlib import Path

DONE = snapshot(jobs.completed())
JOB = replace(DONE, stems=tuple(replace(stem, bytes=PIECE_BYTES + 1) for stem in DONE.stems))
PICTURE = b"\xff\xd8\xff"


@pytest.fixture
async def blobs(tmp_path: Path) -> BlobStore:
    """Where the stems of that job lie, each more than a piece long, and its picture."""
    store = BlobStore(open_store(f"file://{tmp_path}/blobs"))
    for number, stem in enumerate(JOB.stems):
        await store.put(key_of(stem.name), contents(number))
    await store.put(track_cover_key(COVER), PICTURE)
    return store


def key_of(stem: str) -> str:
    return stem_key(JOB.result or "", stem, JOB.options.format.extension)


def contents(number: int) -> bytes:
    return bytes([number + 1]) * (PIECE_BYTES + 1)


async def made(blobs: BlobStore, job: Snapshot = JOB) -> list[bytes]:
    """The pieces of its zip, which is as long as is said beforehand."""
    no_jobs: Any = None
    bundles = Bundles(jobs=no_jobs, blobs=blobs, stall_seconds=1.0)
    files = [file async for file in bundles._files(job)]
    pieces = [piece async for piece in bundles._pieces(job, files)]
    assert length_of(job, files) in {None, sum(map(len, pieces))}
    return pieces


async def test_everything_is_in_it_and_it_is_made_piece_by_piece(blobs: BlobStore) -> None:
    pieces = await made(blobs)
    # Nothing larger than what was read at once is ever held.
    assert max(map(len, pieces)) < PIECE_BYTES + 4096
    with ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        extension = JOB.options.format.extension
        names = [f"{stem.name}.{extension}" for stem in JOB.stems]
        assert archive.namelist() == [*names, "cover.jpg", INFO]
        for number, name in enumerate(names):
            assert archive.read(name) == contents(number)
        assert archive.read("cover.jpg") == PICTURE


async def test_the_length_of_one_that_may_need_the_large_format_is_not_said(
    blobs: BlobStore,
) -> None:
    no_jobs: Any = None
    bundles = Bundles(jobs=no_jobs, blobs=blobs, stall_seconds=1.0)
    small, *others = [file async for file in bundles._files(JOB)]
    others = [file for file in others if file.blob.size == len(PICTURE)]
    most = PLAIN_BYTES - len(PICTURE)
    fits = small._replace(blob=small.blob._replace(size=most))
    assert (length_of(JOB, [fits, *others]) or 0) > PLAIN_BYTES
    too_large = small._replace(blob=small.blob._replace(size=most + 1))
    assert length_of(JOB, [too_large, *others]) is None


async def test_files_beyond_four_gib_take_the_large_format(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", PIECE_BYTES)
    monkeypatch.setattr(bundle, "PLAIN_BYTES", PIECE_BYTES)
    data = b"".join(await made(blobs))
    assert b"PK\x06\x06" in data  # the end of a large archive
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None


async def test_a_picture_that_is_gone_is_no_harm(blobs: BlobStore) -> None:
    await blobs.delete([track_cover_key(COVER)])
    with ZipFile(io.BytesIO(b"".join(await made(blobs)))) as archive:
        assert "cover.jpg" not in archive.namelist()
    plain = replace(JOB, metadata=None)
    with ZipFile(io.BytesIO(b"".join(await made(blobs, plain)))) as archive:
        assert len(archive.namelist()) == len(JOB.stems) + 1
