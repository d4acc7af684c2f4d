"""Requests: answers as bytes, refusals and lost connections as exceptions."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import msgspec

from services.cli.answers import ApiError, LostError, ProblemBody, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

#: Pause before a connection that broke is tried again, and how often in a row.
RETRY_SECONDS: Final = 0.5
RETRIES: Final = 120
#: How often a file is sent again: each time it is all of it.
UPLOAD_RETRIES: Final = 3
#: Seconds of silence after which an answer is given up.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)


class Answer(NamedTuple):
    """What came of a request that was not refused."""

    status: int
    body: bytes


class Http:
    """One server over one session."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self.server = server.rstrip("/")

    async def healthy(self) -> bool:
        """Whether somebody answers."""
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self._session.get(f"{self.server}/health", timeout=timeout) as answer:
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retries: int = 0,
    ) -> Answer:
        """One request; ``ApiError`` if the server refuses.

        After a lost connection it is sent again up to ``retries`` times: only for what may
        arrive twice.  Without an answer the first time, there is no server.
        """
        more: dict[str, Any] = {"params": query, "headers": headers}
        if body is not None:
            more["data"] = msgspec.json.encode(body)
            more["headers"] = {"Content-Type": "application/json", **(headers or {})}
        return await self._ask(method, path, None, retries, more)

    async def send(self, path: str, file: Path, query: Mapping[str, str]) -> Answer:
        """POST a file's bytes."""
        headers = {"Content-Type": "application/octet-stream"}
        more: dict[str, Any] = {"params": query, "headers": headers}
        return await self._ask("POST", path, file, UPLOAD_RETRIES, more)

    async def _ask(
        self, method: str, path: str, file: Path | None, retries: int, more: dict[str, Any]
    ) -> Answer:
        losses = 0
        while True:
            try:
                with file.open("rb") if file else nullcontext() as opened:
                    if opened:
                        more["data"] = opened
                    async with self._session.request(
                        method, self.server + path, timeout=_TIMEOUT, **more
                    ) as answer:
                        body = await answer.read()
                break
            except (aiohttp.ClientError, TimeoutError) as exc:
                refused = isinstance(exc, aiohttp.ClientConnectorError | aiohttp.InvalidURL)
                if refused and not losses:
                    raise UnreachableError(self.server) from exc
                if losses >= retries:
                    raise LostError(self.server) from exc
            losses += 1
            await asyncio.sleep(RETRY_SECONDS)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(answer, body)
        return Answer(answer.status, body)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        **more: Any,  # noqa: ANN401 - aiohttp's own options
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET something long, to be read as it comes; ``ApiError`` if it is refused."""
        async with self._session.get(self.server + path, **({"timeout": _TIMEOUT} | more)) as found:
            if found.status >= HTTPStatus.BAD_REQUEST:
                raise _refusal(found, await found.read())
            yield found


def _refusal(answer: aiohttp.ClientResponse, body: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(body, type=ProblemBody)
    except msgspec.MsgspecError:  # a proxy's, for example
        problem = ProblemBody(detail=f"{answer.status} {answer.reason or ''}".strip())
    # A date, the header's other form, is no proxy's habit for these; the default will do.
    seconds = answer.headers.get("Retry-After", "")
    return ApiError(problem, answer.status, float(seconds) if seconds.isdecimal() else None)
