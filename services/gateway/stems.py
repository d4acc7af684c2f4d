"""Finished stems, their peaks, the song's picture: bytes of blobs, whole or by range."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from services.gateway import problems
from services.gateway.core import byte_range
from services.gateway.writing import write
from shared.blobs import peaks_key, stem_key, track_cover_key
from shared.contracts.problem import Problem
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from services.gateway.jobs import Jobs
    from shared.blobs import BlobInfo, BlobStore
    from shared.contracts.audio import StemFile
    from shared.contracts.snapshot import Snapshot

#: By the file's extension.
_TYPES: Final = {
    "flac": "audio/flac",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
}
#: Longest name of a song in a file's name; what follows it must not be cut off.
SONG_CHARACTERS: Final = 150
#: Stems never change: they lie under the hash of what made them.
_CACHE: Final = "private, max-age=86400, immutable"


class Stems:
    """Handlers of ``/v1/jobs/{id}/stems/…``, ``…/peaks.json`` and ``…/cover``."""

    def __init__(self, *, jobs: Jobs, blobs: BlobStore, stall_seconds: float) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._stall_seconds = stall_seconds

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.get(r"/v1/jobs/{job_id}/stems/{stem:[\w-]+}.{extension:\w+}", self.stem),
            web.get("/v1/jobs/{job_id}/peaks.json", self.peaks),
            web.get("/v1/jobs/{job_id}/cover", self.cover),
        ]

    async def stem(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/stems/{stem}.{ext}``; ``?download=1`` names the file to save."""
        job = self._jobs.snapshot(request.match_info["job_id"])
        name, extension = request.match_info["stem"], request.match_info["extension"]
        made = {stem.name: stem for stem in job.stems}
        if job.result is None or name not in made or extension != job.options.format.extension:
            raise TerminalError(Code.STEM_NOT_FOUND, f"{name}.{extension}"[:100])
        headers = {"Content-Type": _TYPES[extension]}
        if request.query.get("download"):
            file = f"{song_name(job)} ({name}).{extension}"
            headers["Content-Disposition"] = disposition(file)
        key = stem_key(job.result, name, extension)
        return await self._send(request, key, headers, size=size_of(job, made[name]))

    async def peaks(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/peaks.json``: the stems' waveforms."""
        job = self._jobs.snapshot(request.match_info["job_id"])
        if job.result is None:
            raise TerminalError(Code.STEM_NOT_FOUND, "peaks.json")
        return await self._send(
            request, peaks_key(job.result), {"Content-Type": "application/json"}
        )

    async def cover(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/cover``: the song's picture, as soon as it is downloaded."""
        job = self._jobs.snapshot(request.match_info["job_id"])
        cover = job.metadata.cover if job.metadata else None
        if cover is None:
            raise TerminalError(Code.COVER_NOT_FOUND, job.id)
        headers = {"Content-Type": cover.picture.media_type}
        # Only an address that names the picture always has the same one.
        if request.query.get("v") != cover.id:
            headers["Cache-Control"] = "private, no-cache"
        return await self._send(request, track_cover_key(cover), headers)

    async def _send(
        self, request: web.Request, key: str, headers: dict[str, str], size: int | None = None
    ) -> web.StreamResponse:
        """``size``: how long it must be, where that is known."""
        info = await self._blobs.whole(key, size)
        tag = f'"{info.etag.strip(chr(34))}"'
        headers = {"Cache-Control": _CACHE, "ETag": tag, "Accept-Ranges": "bytes", **headers}
        if tag in _tags(request.headers.get("If-None-Match", "")):
            kept = {name: headers[name] for name in ("ETag", "Cache-Control")}
            return web.Response(status=304, headers=kept)
        try:
            asked = _asked_range(request, info, tag)
        except TerminalError as exc:  # a client that asked for too much learns how much there is
            return problems.answer(Problem.of(exc), {"Content-Range": f"bytes */{info.size}"})
        start, end = asked or (0, info.size)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{info.size}"
        headers["Content-Length"] = str(end - start)
        response = web.StreamResponse(status=206 if asked else 200, headers=headers)
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in self._blobs.stream(key, start, end):
                await write(request, response, piece, self._stall_seconds)
        await response.write_eof()
        return response


def _asked_range(request: web.Request, info: BlobInfo, tag: str) -> tuple[int, int] | None:
    """The range to send; a condition on another version of the file asks for all of it."""
    if request.headers.get("If-Range", tag) != tag:
        return None
    return byte_range(request.headers.get("Range"), info.size)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def size_of(job: Snapshot, stem: StemFile) -> int | None:
    """The bytes that a stem's file must have, where they follow from the song's length.

    Of others an equal job may have written one anew that is a little longer.
    """
    return stem.bytes if job.options.format.sized else None


def song_name(job: Snapshot) -> str:
    """What a song is called, as far as it is known: printable, so that a file can be named so."""
    about = job.metadata
    song = " - ".join(part for part in (about and about.artist, about and about.title) if part)
    return "".join(sign for sign in song if sign.isprintable())[:SONG_CHARACTERS] or job.id


def disposition(name: str) -> str:
    """The header that names a file to be saved; ``name`` is from outside, so quoted with care."""
    stem, dot, extension = name.rpartition(".")
    stem = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", stem).strip(". ")
    name = f"{stem or '_'}{dot}{extension}"
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
