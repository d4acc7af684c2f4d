"""Messages to bytes and back: JSON, readable with ``nats sub '>'``.

Unknown fields are ignored and new fields have defaults, so neighbours of another version
understand each other.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

M = TypeVar("M")


class UndecodableError(ValueError):
    """The bytes are not such a message."""


def encode(message: msgspec.Struct) -> bytes:
    """``message`` as JSON."""
    return msgspec.json.encode(message)


class Decoder(Generic[M]):
    """Reads messages of one type, or of one union of types."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - a union is not a type for mypy
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(kind)

    def decode(self, data: bytes) -> M:
        """The message in ``data``; ``UndecodableError`` if it isn't one."""
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise UndecodableError(str(exc)) from exc
