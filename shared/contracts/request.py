"""What a client asks for: where the song is, what shall be made of it, and when."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from shared.contracts.audio import AudioFormat, Precision


class Source(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the song comes from: exactly one of the two."""

    #: An http(s) address.
    url: str | None = None
    #: The id that ``POST /v1/uploads`` answered with.
    upload: str | None = None
    #: Of an upload: SHA-256 of its bytes, as the gateway has counted them, and the name that the
    #: file had: the song's title may be made of it.
    digest: str | None = None
    name: str | None = None


class Priority(StrEnum):
    """How soon, compared with others.  Waiting counts: see the dispatcher's ageing."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For whom, how soon, not before and not after."""

    #: Whose job it is: jobs of different owners get a fair share each.  Empty: nobody's.
    owner: str = ""
    priority: Priority = Priority.NORMAL
    #: Not to be started before.
    run_at: datetime | None = None
    #: Pointless after: a job that has not ended by then fails.
    deadline: datetime | None = None


class Upload(Struct, frozen=True, kw_only=True):
    """What is known of an uploaded file; lies beside it as ``uploads/<id>.json``."""

    #: The name it had on the sender's machine; from outside: show it as text only.
    filename: str = ""
    #: Length as received, and SHA-256 of the bytes.
    bytes: int = 0
    digest: str | None = None


class Options(Struct, frozen=True, kw_only=True):
    """What the client wants made of it."""

    #: A model's name, or ``auto``.
    model: str = "auto"
    #: Names of stems; none means all that the model makes.
    stems: tuple[str, ...] = ()
    format: AudioFormat = AudioFormat.FLAC
    #: None leaves it to the separators' operator.
    precision: Precision | None = None
    #: Runs over the song, each shifted by up to half a second, that are averaged; 0: one, as it is.
    shifts: int = 0
    #: Whether what was made of the same song before may be taken.
    reuse: bool = True
