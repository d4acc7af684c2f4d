"""The downloader's duty: a source in, a canonical track in the blob store out.

And where the source is a playlist: the addresses of its songs out.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from services.downloader.children import Decoder, Expander, Fetcher
from services.downloader.core import TrackRecord, extension_of, megabytes, title_of
from services.downloader.covers import COVER_BYTES, cover_of
from services.downloader.messages import SITE_COVER
from shared.blobs import (
    PIECE_BYTES,
    track_audio_key,
    track_cover_key,
    track_original_key,
    track_prefix,
    track_record_key,
    upload_key,
    upload_note_key,
)
from shared.contracts.audio import FRAME_BYTES, Cover, Metadata, Track
from shared.contracts.facts import Downloaded, Expanded
from shared.contracts.live import Activity
from shared.contracts.request import Upload
from shared.contracts.work import DownloadWork, ExpandWork, Stage
from shared.errors import Code, TerminalError
from shared.scratch import DOWNLOADS, scratch_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.downloader.messages import Decoded
    from shared.actor.worker import Report
    from shared.blobs import BlobStore
    from shared.contracts.facts import Fact


class Shares(NamedTuple):
    """Where fetching and decoding end, as shares of the whole unit; storing ends at 1."""

    fetched: float
    decoded: float


#: yt-dlp's extractor for what no site's own takes, a plain file mostly: its title is a file name.
_PLAIN_FILE: Final = "Generic"
#: From the internet the download takes longest; an upload is already in the blob store.
FROM_URL: Final = Shares(0.7, 0.95)
FROM_UPLOAD: Final = Shares(0.1, 0.85)


class Source(NamedTuple):
    """A source on the local disk."""

    path: Path
    #: Its extension where its name had a harmless one.
    extension: str | None
    metadata: Metadata


class Art(NamedTuple):
    """A song's picture."""

    cover: Cover
    data: bytes


class Downloader:
    """Performs ``DownloadWork`` and ``ExpandWork``."""

    def __init__(
        self,
        *,
        blobs: BlobStore,
        fetcher: Fetcher,
        expander: Expander,
        decoder: Decoder,
        scratch_dir: Path,
        max_source_bytes: int,
    ) -> None:
        self._blobs = blobs
        self._fetcher = fetcher
        self._expander = expander
        self._decoder = decoder
        self._scratch_dir = scratch_dir
        self._max_source_bytes = max_source_bytes

    async def perform(self, work: DownloadWork | ExpandWork, report: Report) -> Fact:
        """Do it; the scratch folder and the children are gone when this returns."""
        async with scratch_folder(self._scratch_dir, DOWNLOADS) as folder:
            if isinstance(work, ExpandWork):
                return await self._expand(work, folder)
            return await self._download(work, folder, report)

    async def _expand(self, work: ExpandWork, folder: Path) -> Expanded:
        found = await self._expander.expand(work.playlist, limit=work.limit, folder=folder)
        return Expanded(
            job_id=work.job_id,
            stage=Stage.DOWNLOAD,
            unit=work.unit,
            attempt=work.attempt,
            entries=found.selection.entries,
            skipped=found.selection.skipped,
            title=found.title,
        )

    async def _download(self, work: DownloadWork, folder: Path, report: Report) -> Downloaded:
        shares = FROM_URL if work.source.upload is None else FROM_UPLOAD
        if work.source.upload is None:
            source = await self._fetch(work.source.url or "", folder, report, shares)
        else:
            source = await self._take(work.source.upload, folder, report, shares)
        target, attached = folder / "audio.f32", folder / "cover.attached"
        decoded = await self._decode(source.path, target, attached, report, shares)
        # What is in the file is the song's own; a site's may be a frame of its video.
        art = await asyncio.to_thread(_first_picture, decoded.digest, attached, folder / SITE_COVER)
        metadata = _completed(source.metadata, decoded, art.cover if art else None)
        record = TrackRecord(
            track=Track(
                id=decoded.digest,
                frames=decoded.frames,
                mean=decoded.mean,
                std=decoded.std,
                original=decoded.original,
            ),
            metadata=metadata,
            extension=source.extension or extension_of(f"x.{decoded.extension}", "bin"),
        )
        track = await self._store(record, source.path, target, report, shares)
        if art is not None:
            await self._blobs.put(track_cover_key(art.cover), art.data)
        return Downloaded(
            job_id=work.job_id,
            stage=Stage.DOWNLOAD,
            unit=work.unit,
            attempt=work.attempt,
            track=track,
            metadata=metadata,
        )

    async def _fetch(self, url: str, folder: Path, report: Report, shares: Shares) -> Source:
        report(Activity.FETCHING)

        def moving(received: int, total: int | None, speed: float | None) -> None:
            fraction = shares.fetched * received / total if total else None
            note = megabytes(received, total, speed) if received else ""
            report(Activity.FETCHING, fraction, note)

        fetched = await self._fetcher.fetch(url, folder=folder, moving=moving)
        path = folder / fetched.name
        return Source(path, extension_of(fetched.name, "") or None, fetched.metadata)

    async def _take(self, upload: str, folder: Path, report: Report, shares: Shares) -> Source:
        """An upload, out of the blob store."""
        report(Activity.FETCHING, 0.0)
        try:
            info = await self._blobs.info(upload_key(upload))
        except ValueError as exc:  # not even a token
            raise TerminalError(Code.SOURCE_UPLOAD_MISSING, upload[:64]) from exc
        if info is None:
            raise TerminalError(Code.SOURCE_UPLOAD_MISSING, upload)
        if info.size > self._max_source_bytes:
            raise TerminalError(Code.SOURCE_TOO_LARGE, f"{info.size} bytes")
        path = folder / "source"
        received = 0
        with path.open("wb") as file:
            async for piece in self._blobs.stream(info.key, 0, info.size):
                await asyncio.to_thread(file.write, piece)
                received += len(piece)
                note = megabytes(received, info.size, None)
                report(Activity.FETCHING, shares.fetched * received / info.size, note)
        name = (await self._note(upload)).filename
        metadata = Metadata(title=title_of(name), extractor="upload")
        return Source(path, extension_of(name, "") or None, metadata)

    async def _note(self, upload: str) -> Upload:
        key = upload_note_key(upload)
        if await self._blobs.info(key) is None:
            return Upload()
        try:
            return msgspec.json.decode(await self._blobs.get(key), type=Upload)
        except msgspec.MsgspecError:
            return Upload()  # a title is not worth a failure

    async def _decode(
        self, path: Path, target: Path, attached: Path, report: Report, shares: Shares
    ) -> Decoded:
        report(Activity.DECODING, shares.fetched)

        def moving(seconds: float, fraction: float | None) -> None:
            if fraction is not None:
                fraction = shares.fetched + (shares.decoded - shares.fetched) * fraction
            report(Activity.DECODING, fraction, f"{seconds:.0f} s of sound")

        return await self._decoder.decode(path, target=target, cover=attached, moving=moving)

    async def _store(
        self, record: TrackRecord, original: Path, pcm: Path, report: Report, shares: Shares
    ) -> Track:
        """Put the track where its hash says, the record last; if it is there already, touch it."""
        report(Activity.STORING, shares.decoded)
        if (known := await self._found(record.track)) is not None:
            return known
        total = await asyncio.to_thread(lambda: original.stat().st_size + pcm.stat().st_size)
        stored = 0

        def moved(size: int) -> None:
            nonlocal stored
            stored += size
            fraction = shares.decoded + (1.0 - shares.decoded) * stored / total
            report(Activity.STORING, fraction, megabytes(stored, total, None))

        track = msgspec.structs.replace(record.track, stored_bytes=total)
        record = msgspec.structs.replace(record, track=track)
        key = track_original_key(track.id, record.extension)
        await self._blobs.put_stream(key, _pieces(original, moved))
        await self._blobs.put_stream(track_audio_key(track.id), _pieces(pcm, moved))
        await self._blobs.put(track_record_key(track.id), msgspec.json.encode(record))
        return track

    async def _found(self, track: Track) -> Track | None:
        """The track as it lies in the store, touched so that nobody takes it for forgotten.

        Somebody may be removing it just now.  The record goes first and comes back with the
        touch: so after the touch it is looked whether the rest is still there.
        """
        key = track_record_key(track.id)
        if not await self._bytes_of(track):
            return None
        try:
            await self._blobs.touch(key)
        except TerminalError:
            return None  # gone since we looked
        stored = await self._bytes_of(track)
        return msgspec.structs.replace(track, stored_bytes=stored) if stored else None

    async def _bytes_of(self, track: Track) -> int:
        """Bytes of a whole track's original and PCM; 0 if it is not there, or not whole."""
        prefix, audio = track_prefix(track.id), track_audio_key(track.id)
        found = {info.key: info.size async for info in self._blobs.under(prefix)}
        record = found.pop(track_record_key(track.id), None)
        whole = record is not None and found.get(audio) == track.frames * FRAME_BYTES
        original = any(key.startswith(f"{prefix}original.") for key in found)
        return sum(found.values()) if whole and original else 0


def _first_picture(track: str, *paths: Path) -> Art | None:
    """The first of these files that holds a picture; children wrote them, so it is looked again."""
    for path in paths:
        if not path.is_file():
            continue
        with path.open("rb") as file:
            data = file.read(COVER_BYTES + 1)
        if (cover := cover_of(track, data)) is not None:
            return Art(cover, data)
    return None


def _completed(found: Metadata, decoded: Decoded, cover: Cover | None) -> Metadata:
    """A site's title is worth more than a file's tags, and those more than a file's name."""
    tags_first = found.extractor in {"upload", _PLAIN_FILE}
    title = (decoded.title or found.title) if tags_first else (found.title or decoded.title)
    return msgspec.structs.replace(
        found,
        title=title,
        artist=found.artist or decoded.artist,
        cover=cover,
        duration=found.duration or Track(id="", frames=decoded.frames, mean=0.0, std=0.0).seconds,
    )


async def _pieces(path: Path, moved: Callable[[int], None]) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, 4 * PIECE_BYTES):
            yield piece
            moved(len(piece))
