"""Live events: read from a stream as the HTML standard has them, through lost connections."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from msgspec import Struct

from services.cli.answers import ApiError, BatchView, Gone, Place, UnreachableError
from services.cli.http import RETRIES, RETRY_SECONDS
from shared.contracts.codec import Decoder, UndecodableError
from shared.contracts.live import Progress
from shared.contracts.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.cli.http import Http

#: Seconds without a byte on a live connection (a comment comes every 15) before it is dead.
SILENCE_SECONDS: Final = 40.0
#: Longest event: a batch of 500 songs.
EVENT_BYTES: Final = 1 << 20
_COMMENT: Final = "comment"


class Look(Struct, frozen=True):
    """Nothing has come for a while, or the connection is a new one: a time to look around."""


Event = Snapshot | Progress | Place | Gone | BatchView | Look
#: Which kind of event brings what.
KINDS: Final[dict[str, type]] = {
    "job": Snapshot,
    "progress": Progress,
    "queue": Place,
    "gone": Gone,
    "batch": BatchView,
}
#: What may be wrong while a server starts, or while a job is taken in.
_PASSING: Final = frozenset({"job.not_found", "service.unavailable"})


def kind_of(event: Event) -> str:
    """The name of the kind of event that brought this."""
    return next((name for name, kind in KINDS.items() if isinstance(event, kind)), _COMMENT)


class Listener:
    """Listens to one server's live events."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._decoders: dict[str, Decoder[Any]] = {
            name: Decoder(kind) for name, kind in KINDS.items()
        }

    async def events(self, path: str, after: int | None = None) -> AsyncIterator[Event]:
        """What a stream tells until the server ends it for good; comes back by itself."""
        known = None if after is None else str(after)
        failures = 0
        while failures < RETRIES:
            try:
                async with self._http.stream(
                    path,
                    headers={"Last-Event-ID": known} if known else {},
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS),
                    read_bufsize=EVENT_BYTES,
                ) as answer:
                    if answer.status == HTTPStatus.NO_CONTENT:
                        return
                    async for revision, kind, data in _parsed(answer.content):
                        failures = 0
                        known = revision or known
                        event = self._event(kind, data)
                        if event is not None:
                            yield event
            except (aiohttp.ClientError, TimeoutError):
                pass
            except ApiError as exc:
                if exc.problem.code not in _PASSING:
                    raise
            failures += 1
            await asyncio.sleep(RETRY_SECONDS)
        raise UnreachableError(self._http.server)

    def _event(self, kind: str, data: bytes) -> Event | None:
        if kind == _COMMENT:
            return Look()
        try:
            found: Event | None = self._decoders[kind].decode(data)
        except (KeyError, UndecodableError):  # a newer server's
            return None
        return found


async def _parsed(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str, bytes]]:
    """(id, event, data) of each event in a stream; a comment, and its beginning, as events too."""
    yield "", _COMMENT, b""
    revision, kind, data = "", "", b""
    async for line in content:
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"id":
            revision = value.decode()
        elif field == b"event":
            kind = value.decode()
        elif field == b"data":
            data += value
        elif line.startswith(b":"):
            yield "", _COMMENT, b""
        elif not line.strip():
            if data:
                yield revision, kind, data
            revision, kind, data = "", "", b""
