"""What a client asks for: where the song is, and what shall be made of it."""

from __future__ import annotations

from msgspec import Struct

from shared.contracts.audio import AudioFormat


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the song comes from: exactly one of the two."""

    #: An http(s) address.
    url: str | None = None
    #: The id that ``POST /v1/uploads`` answered with.
    upload: str | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """What is known of an uploaded file; lies beside it as ``uploads/<id>.json``."""

    #: The name it had on the sender's machine; from outside: show it as text only.
    filename: str = ""
    #: Length as received.
    bytes: int = 0


class Options(Struct, frozen=True, kw_only=True):
    """What the client wants made of it."""

    #: A model's name, or ``auto``.
    model: str = "auto"
    #: Names of stems; none means all that the model makes.
    stems: tuple[str, ...] = ()
    format: AudioFormat = AudioFormat.FLAC
