"""Where an actor's messages come from and where its words go, as small Protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

W_contra = TypeVar("W_contra", contravariant=True)


class Delivery(Protocol):
    """One message, handed out until it is settled by exactly one of ack, nak and discard."""

    @property
    def subject(self) -> str:
        """What it was published on."""

    @property
    def body(self) -> bytes:
        """Its payload."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; trace context travels here."""

    @property
    def deliveries(self) -> int:
        """How often it has been handed out, this time included."""

    async def ack(self) -> None:
        """It is done: forget it."""

    async def nak(self, delay: float = 0.0) -> None:
        """It is not done: hand it out again, not before ``delay`` seconds."""

    async def discard(self) -> None:
        """It can't be done by anyone: forget it."""

    async def in_progress(self) -> None:
        """It is being worked on: don't hand it out again yet."""


class Mailbox(Protocol):
    """A durable queue of messages; each is handed to one taker at a time."""

    async def fetch(self, limit: int, timeout: float) -> Sequence[Delivery]:  # noqa: ASYNC109 - the broker is told how long to hold the request
        """Up to ``limit`` messages; none if nothing came within ``timeout`` seconds."""

    async def close(self) -> None:
        """Take nothing more: a fetch that waits ends now, with what it has.

        What has come and was not fetched is handed out again, to others.
        """


class Speaker(Protocol[W_contra]):
    """Says words: returns once they are stored, however long the broker is away."""

    async def say(self, word: W_contra) -> None:
        """Publish ``word``; saying the same again changes nothing."""
