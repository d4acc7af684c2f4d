"""A client of Stembus' HTTP API."""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from services.cli.answers import (
    ApiError,
    BatchPage,
    BatchView,
    JobPage,
    Stats,
    StrangeAnswerError,
    UnreachableError,
)
from services.cli.events import Event, Listener
from services.cli.http import RETRIES, RETRY_SECONDS, Http
from services.cli.plain import plain
from shared.contracts.request import Options, Priority, Terms
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PIECE_BYTES: Final = 1 << 18
#: Jobs that a server sends at once.
PAGE: Final = 200

_NO_OPTIONS: Final = Options()
_NO_TERMS: Final = Terms()

T = TypeVar("T")


class _Uploaded(Struct, frozen=True):
    upload: str


class _Named(Struct, frozen=True):
    id: str


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which jobs, and in what order; empty members don't matter."""

    status: str = ""
    owner: str = ""
    batch: str = ""
    #: In the title, the artist, the address or the id.
    q: str = ""
    sort: str = ""


def new_key() -> str:
    """An Idempotency-Key: what comes twice with one key is done once."""
    return secrets.token_hex(16)


class Client:
    """Talks to one server over one session."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._http = Http(session, server)
        self._listener = Listener(self._http)

    async def healthy(self) -> bool:
        """Whether somebody answers."""
        return await self._http.healthy()

    async def upload(self, path: Path) -> str:
        """Send a file; the upload's id."""
        answer = await self._http.send("/v1/uploads", path, {"filename": plain(path.name)})
        return self._read(answer.body, _Uploaded).upload

    async def submit(
        self,
        source: dict[str, str],
        options: Options = _NO_OPTIONS,
        *,
        terms: Terms = _NO_TERMS,
        job_id: str | None = None,
        key: str | None = None,
    ) -> str:
        """Submit a job; its id.  Sent again after a lost connection, it is the same job.

        With an id of the client's own the id does what else ``key`` does.
        """
        body = {"source": source, **_wishes(options, terms, job_id)}
        return await self._submit("/v1/jobs", body, job_id, key)

    async def submit_batch(
        self,
        songs: dict[str, object],
        options: Options,
        *,
        terms: Terms = _NO_TERMS,
        key: str | None = None,
    ) -> str:
        """Submit a batch: ``urls`` and ``uploads``, or a ``playlist``; its id."""
        body = {**songs, **_wishes(options, terms, None)}
        return await self._submit("/v1/batches", body, None, key)

    async def job(self, job_id: str) -> Snapshot:
        """One job."""
        return await self._get(_job(job_id), Snapshot)

    async def pages(self, wanted: Filter, limit: int | None) -> AsyncIterator[JobPage]:
        """The jobs that are ``wanted``, ``limit`` of them at most."""
        query: dict[str, str] = msgspec.to_builtins(wanted)
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(limit, PAGE)
            page = await self._get("/v1/jobs", JobPage, {**query, "limit": str(size)})
            yield page
            if page.next is None:
                return
            query["cursor"] = page.next
            limit = None if limit is None else limit - len(page.jobs)

    async def command(self, job_id: str, verb: str, body: object = None) -> Snapshot:
        """``cancel``, ``retry``, ``hold``, ``release`` or ``front`` a job; the job then.

        A command that is stored but not carried out yet (202) shows in a later state.
        """
        answer = await self._http.ask("POST", f"{_job(job_id)}/{verb}", body=body)
        if answer.status != HTTPStatus.OK:
            return await self.job(job_id)
        return self._read(answer.body, Snapshot)

    async def prioritize(self, job_id: str, priority: Priority) -> Snapshot:
        """Give a waiting job another priority; the job then."""
        return await self.command(job_id, "priority", {"priority": priority.value})

    async def remove(self, job_id: str) -> None:
        """Have a job that has ended, and its files, forgotten."""
        await self._http.ask("DELETE", _job(job_id))

    async def batch(self, batch_id: str) -> BatchView:
        """One batch."""
        return await self._get(_batch(batch_id), BatchView)

    async def batches(self, limit: int) -> BatchPage:
        """The newest batches."""
        return await self._get("/v1/batches", BatchPage, {"limit": str(limit)})

    async def command_batch(self, batch_id: str, verb: str) -> BatchView:
        """``cancel`` or ``retry`` every job of a batch; the batch then."""
        await self._http.ask("POST", f"{_batch(batch_id)}/{verb}")
        return await self.batch(batch_id)

    async def stats(self) -> Stats:
        """How the server does."""
        return await self._get("/v1/stats", Stats)

    async def download(self, job: Snapshot, stem: str, path: Path) -> None:
        """Save a stem; ``path`` has all of it or does not exist."""
        url = f"{_job(job.id)}/stems/{quote(stem, safe='')}.{job.options.format.extension}"
        part = path.with_name(path.name + ".part")
        for _ in range(RETRIES):
            try:
                async with self._http.stream(url) as answer:
                    with part.open("wb") as file:
                        async for piece in answer.content.iter_chunked(PIECE_BYTES):
                            file.write(piece)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
            except ApiError:
                part.unlink(missing_ok=True)
                raise
            else:
                part.replace(path)
                return
        raise UnreachableError(self._http.server)

    def events(self, job_id: str | None = None, after: int | None = None) -> AsyncIterator[Event]:
        """Live events of one job until it has ended, or of all; reconnects by itself.

        Of all jobs it begins with those that have not ended, or with what changed ``after``.
        """
        path = f"{_job(job_id)}/events" if job_id else "/v1/events"
        return self._listener.events(path, after)

    async def _submit(
        self, path: str, body: dict[str, object], own_id: str | None, key: str | None
    ) -> str:
        headers = None if own_id else {"Idempotency-Key": key or new_key()}
        answer = await self._http.ask("POST", path, body=body, headers=headers, retries=RETRIES)
        return self._read(answer.body, _Named).id

    async def _get(self, path: str, kind: type[T], query: dict[str, str] | None = None) -> T:
        answer = await self._http.ask("GET", path, query=query, retries=RETRIES)
        return self._read(answer.body, kind)

    def _read(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise StrangeAnswerError(self._http.server) from exc


def _wishes(options: Options, terms: Terms, own_id: str | None) -> dict[str, Any]:
    """What a job and a batch are asked for with alike."""
    named = {"id": own_id} if own_id else {}
    asked = {
        name: value
        for name, value in msgspec.to_builtins(options).items()
        # A server of an older version knows only these.
        if name in {"model", "stems", "format"} or value != getattr(_NO_OPTIONS, name)
    }
    return {"options": asked, **msgspec.to_builtins(terms), **named}


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _batch(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"
