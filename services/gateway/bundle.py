"""Everything of a finished job in one zip, made while it is sent: no file, bounded memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from aiohttp import web
from msgspec import Struct

from services.gateway.stems import disposition, size_of, song_name
from services.gateway.writing import write
from shared.blobs import stem_key, track_cover_key
from shared.contracts.audio import Metadata, Precision, Remark, StemFile
from shared.contracts.codec import encode
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.gateway.jobs import Jobs
    from shared.blobs import BlobInfo, BlobStore
    from shared.contracts.snapshot import Snapshot

#: What is told beside the stems.
INFO: Final = "info.json"
#: Bytes up to which no file in a zip and no place in it needs the large format (zipfile's limit
#: is 2 GiB, and it allows a file to grow by a twentieth).
PLAIN_BYTES: Final = 2_000_000_000
#: The permissions of an unpacked file.
_READABLE: Final = 0o644 << 16


class Info(Struct, frozen=True, kw_only=True):
    """The contents of ``info.json``."""

    metadata: Metadata | None
    seconds: float | None
    model: str | None
    precision: Precision | None
    shifts: int
    gain: float
    loudness: float | None
    stems: tuple[StemFile, ...]
    remarks: tuple[Remark, ...]


class _File(NamedTuple):
    """What goes into the zip."""

    name: str
    blob: BlobInfo


class Bundles:
    """The handler of ``/v1/jobs/{id}/stems.zip``."""

    def __init__(self, *, jobs: Jobs, blobs: BlobStore, stall_seconds: float) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._stall_seconds = stall_seconds

    def routes(self) -> list[web.RouteDef]:
        """Its address."""
        return [web.get("/v1/jobs/{job_id}/stems.zip", self.bundle)]

    async def bundle(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/stems.zip``: all stems, the picture, and what is known of them.

        Its length is said beforehand, so that it is seen how far it is, and if it breaks off.
        """
        job = self._jobs.snapshot(request.match_info["job_id"])
        if job.result is None:
            raise TerminalError(Code.STEM_NOT_FOUND, "stems.zip")
        headers = {
            "Content-Type": "application/zip",
            "Content-Disposition": disposition(f"{song_name(job)}.zip"),
            "Cache-Control": "no-store",
        }
        files = [file async for file in self._files(job)]
        if (length := length_of(job, files)) is not None:
            headers["Content-Length"] = str(length)
        if request.method == "HEAD":
            return web.Response(headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        async for piece in self._pieces(job, files):
            await write(request, response, piece, self._stall_seconds)
        await response.write_eof()
        return response

    async def _files(self, job: Snapshot) -> AsyncIterator[_File]:
        """The stems, all of which must be there, and the picture, if it is."""
        extension = job.options.format.extension
        for stem in job.stems:
            key = stem_key(job.result or "", stem.name, extension)
            yield _File(
                f"{stem.name}.{extension}",
                await self._blobs.whole(key, size_of(job, stem)),
            )
        cover = job.metadata.cover if job.metadata else None
        if cover is not None and (info := await self._blobs.info(track_cover_key(cover))):
            yield _File(f"cover.{cover.picture.value}", info)

    async def _pieces(self, job: Snapshot, files: list[_File]) -> AsyncIterator[bytes]:
        sink = _Sink()
        with ZipFile(sink, "w", ZIP_STORED) as archive:
            for name, blob in files:
                with archive.open(_member(job, name, blob.size), "w") as file:
                    async for piece in self._blobs.stream(blob.key, 0, blob.size):
                        file.write(piece)
                        yield sink.taken()
            archive.writestr(_member(job, INFO), encode(_info(job)))
        yield sink.taken()


def length_of(job: Snapshot, files: list[_File]) -> int | None:
    """Bytes of the whole zip; None if it is so large that headers depend on where files lie."""
    contents = sum(blob.size for _, blob in files)
    if contents > PLAIN_BYTES:
        return None
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for name, blob in files:
            archive.open(_member(job, name, blob.size), "w").close()
        archive.writestr(_member(job, INFO), encode(_info(job)))
    return len(sink.taken()) + contents


class _Sink(io.RawIOBase):
    """Where the zip is written to, and taken away from; it can't be wound back."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object, /) -> int:
        """Keep ``data`` until it is taken."""
        piece = bytes(memoryview(data))  # type: ignore[arg-type] # whatever buffer zipfile has
        self._held += piece
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last time."""
        held, self._held = bytes(self._held), bytearray()
        return held


def _member(job: Snapshot, name: str, size: int = 0) -> ZipInfo:
    """A file in the zip; its size decides whether it needs the large format."""
    at = (job.finished_at or job.updated_at).timetuple()
    member = ZipInfo(name, date_time=(max(1980, at.tm_year), *at[1:6]))
    member.external_attr = _READABLE
    member.file_size = size
    return member


def _info(job: Snapshot) -> Info:
    parts = job.separation
    return Info(
        metadata=job.metadata,
        seconds=job.seconds,
        model=parts.model if parts else None,
        precision=parts.precision if parts else None,
        shifts=parts.shifts if parts else 0,
        gain=job.gain,
        loudness=job.loudness,
        stems=job.stems,
        remarks=job.remarks,
    )
