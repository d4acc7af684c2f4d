"""Songs that are being separated, as far as they are: what is done can be heard already.

A piece is made when somebody asks for it and kept nowhere: who doesn't listen costs nothing.
"""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web
from msgspec import Struct

from services.gateway import bodies
from services.gateway.stretch import Source, Stretch
from services.gateway.wav import wav_bytes, wav_header
from services.gateway.writing import write
from shared.contracts.codec import UndecodableError
from shared.contracts.job import Job, Phase, Status
from shared.contracts.subjects import TOKEN
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.gateway.stretch import Blobs
    from shared.contracts.snapshot import Snapshot
    from shared.jetstream.store import Stored

#: While a job is at one of these, its chunks are there.
_AUDIBLE: Final = frozenset({Phase.SEPARATION, Phase.FINALIZATION})
#: Seconds after which to ask again when too many pieces are being played.
_AGAIN_SECONDS: Final = 2.0


class Piece(Struct, frozen=True, kw_only=True):
    """One piece that can be heard."""

    n: int
    #: Where it begins in the song, and how long it is, in seconds.
    start: float
    seconds: float


class Playlist(Struct, frozen=True, kw_only=True):
    """The body of ``GET /v1/jobs/{id}/pieces``."""

    #: Those that are ready, in order, without a gap.
    pieces: list[Piece]
    stems: tuple[str, ...]
    #: Length of the whole song, once it is known.
    seconds: float | None
    #: Number of pieces of the whole song; 0 until that is known.
    count: int
    #: Whether the job has completed: then it has stems instead of pieces.
    complete: bool


class Snapshots(Protocol):
    """What clients may know of jobs."""

    def snapshot(self, job_id: str) -> Snapshot:
        """The job as it is now; ``job.not_found`` if there is none."""


class Records(Protocol):
    """The bucket: only there it says where the chunks lie."""

    async def load(self, job_id: str) -> Stored | None:
        """One record as it is now."""


class Pieces:
    """Handlers of ``/v1/jobs/{id}/pieces``."""

    def __init__(
        self,
        *,
        jobs: Snapshots,
        records: Records,
        blobs: Blobs,
        max_at_once: int,
        stall_seconds: float,
    ) -> None:
        self._jobs = jobs
        self._records = records
        self._blobs = blobs
        self._max_at_once = max_at_once
        self._stall_seconds = stall_seconds
        #: Pieces that are being sent.
        self.open = 0

    def routes(self) -> list[web.RouteDef]:
        """Their addresses."""
        return [
            web.get("/v1/jobs/{job_id}/pieces", self.playlist),
            web.get(r"/v1/jobs/{job_id}/pieces/{piece:[0-9]{1,9}}/{stem:[\w-]+}.wav", self.piece),
        ]

    async def playlist(self, request: web.Request) -> web.Response:
        """``GET /v1/jobs/{id}/pieces``: what can be heard by now."""
        body = playlist_of(self._jobs.snapshot(request.match_info["job_id"]))
        return bodies.answer(200, body)

    async def piece(self, request: web.Request) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/pieces/{n}/{stem}.wav``, sent while it is made."""
        with self._place():
            job = await self._record(request.match_info["job_id"])
            if job.follows is not None:  # what is computed, its leader computes
                job = await self._record(job.follows)
            piece, stem = int(request.match_info["piece"]), request.match_info["stem"]
            source = source_of_piece(job, piece, stem)
            stretch = Stretch(blobs=self._blobs, source=source, piece=piece, stem=stem)
            return await self._send(request, stretch)

    async def _send(self, request: web.Request, stretch: Stretch) -> web.StreamResponse:
        headers = {
            "Cache-Control": "no-store",
            "Content-Type": "audio/wav",
            "Content-Length": str(wav_bytes(stretch.frames)),
            "Accept-Ranges": "none",
        }
        response = web.StreamResponse(headers=headers)
        async with aclosing(stretch.blocks()) as blocks:
            # While nothing has been said, what goes wrong can still be told.
            first = await anext(blocks) if request.method != "HEAD" else b""
            await response.prepare(request)
            if request.method != "HEAD":
                await write(
                    request, response, wav_header(stretch.frames) + first, self._stall_seconds
                )
                async for block in blocks:
                    await write(request, response, block, self._stall_seconds)
        await response.write_eof()
        return response

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self.open >= self._max_at_once:
            detail = "too many pieces are being played at once"
            raise RetryableError(Code.SERVICE_UNAVAILABLE, detail, retry_after=_AGAIN_SECONDS)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def _record(self, job_id: str) -> Job:
        """The record itself: a snapshot doesn't say how the song was cut."""
        if not TOKEN.match(job_id):
            raise TerminalError(Code.JOB_NOT_FOUND, job_id[:64])
        try:
            stored = await self._records.load(job_id)
        except (ConnectionError, UndecodableError) as exc:
            raise RetryableError(Code.SERVICE_UNAVAILABLE, "the jobs can't be read") from exc
        if stored is None or stored.job is None:
            raise TerminalError(Code.JOB_NOT_FOUND, job_id)
        return stored.job


def playlist_of(job: Snapshot) -> Playlist:
    """What can be heard of a job by now."""
    parts, whole = job.separation, job.seconds
    if parts is None or whole is None:
        complete = job.status is Status.COMPLETED
        stems = tuple(stem.name for stem in job.stems)
        return Playlist(pieces=[], stems=stems, seconds=whole, count=0, complete=complete)
    # Of one that follows another these are that one's.
    follows = job.status is Status.PENDING and job.follows is not None and not job.held
    audible = (job.status is Status.PROCESSING or follows) and job.phase in _AUDIBLE
    last = parts.chunks - 1
    pieces = [
        Piece(
            n=n,
            start=n * parts.piece_seconds,
            seconds=whole - n * parts.piece_seconds if n == last else parts.piece_seconds,
        )
        for n in range(parts.pieces_ready if audible else 0)
    ]
    return Playlist(
        pieces=pieces,
        stems=parts.stems,
        seconds=whole,
        count=parts.chunks,
        complete=job.status is Status.COMPLETED,
    )


def source_of_piece(job: Job, piece: int, stem: str) -> Source:
    """Where a piece is made from; ``piece.not_ready`` or ``stem.not_found`` if it can't be."""
    plan, track = job.plan, job.track
    if job.status.terminal:
        there = f": its stems are at /v1/jobs/{job.id}/stems/"
        ended = f"the job is {job.status}{there if job.status is Status.COMPLETED else ''}"
        raise TerminalError(Code.PIECE_NOT_READY, ended)
    if job.status is not Status.PROCESSING or job.phase not in _AUDIBLE or not (plan and track):
        raise RetryableError(Code.PIECE_NOT_READY, "the song is not being separated yet")
    if stem not in plan.stems:
        raise TerminalError(Code.STEM_NOT_FOUND, stem[:100])
    if piece >= plan.chunks:
        raise TerminalError(Code.PIECE_NOT_READY, f"the song has {plan.chunks} pieces")
    ready = job.pieces_ready
    if piece >= ready:
        raise RetryableError(Code.PIECE_NOT_READY, f"{ready} of {plan.chunks} pieces are ready")
    attempts = {chunk: job.units[str(chunk)].attempt for chunk in range(ready)}
    return Source(plan, track, job.run_id, attempts)
