"""What the downloader and its children say to each other."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from shared.contracts.audio import Metadata
from shared.contracts.problem import Problem

#: Where a download puts the picture that its site shows for it, in the child's folder.
SITE_COVER: Final = "cover.site"


class FetchRequest(Struct, frozen=True, kw_only=True):
    """Download what is at ``url`` into the child's folder; a picture of it as ``SITE_COVER``."""

    url: str
    #: Networks in CIDR notation that may be connected to besides the public internet.
    allow_networks: tuple[str, ...]
    #: Bytes of the whole download, all of its fragments together.
    max_bytes: int
    #: Seconds of audio; compared with what the site announces.
    max_seconds: float
    #: Seconds that one read from the network may take.
    socket_timeout: float
    #: Absolute path of a deno executable, or nothing.
    deno: str | None = None


class Fetching(Struct, frozen=True, kw_only=True, tag_field="type", tag="fetching"):
    """Something moved: bytes, or a step of finding out where they are."""

    #: Bytes that have arrived; 0 while the source is being looked at.
    received: int = 0
    #: Bytes in all, as announced or as estimated from the fragments so far; None: unknown.
    total: int | None = None
    #: Bytes per second.
    speed: float | None = None


class Fetched(Struct, frozen=True, kw_only=True, tag_field="type", tag="fetched"):
    """The download is complete."""

    #: The file's name in the child's folder.
    name: str
    metadata: Metadata


class Recognized(Struct, frozen=True, kw_only=True, tag_field="type", tag="recognized"):
    """One extractor in particular has taken an address: whatever goes wrong is its site's."""

    #: yt-dlp's name of it.
    extractor: str


FetchReport = Fetching | Fetched | Recognized


class ExpandRequest(Struct, frozen=True, kw_only=True):
    """Read the playlist at ``url``; nothing that it names is fetched."""

    url: str
    #: Entries that are wanted at most.
    limit: int
    #: As in ``FetchRequest``.
    allow_networks: tuple[str, ...]
    max_seconds: float
    socket_timeout: float
    deno: str | None = None


class Reading(Struct, frozen=True, kw_only=True, tag_field="type", tag="reading"):
    """Something moved."""


class Found(Struct, frozen=True, kw_only=True, tag_field="type", tag="found"):
    """The next entry that can be taken."""

    url: str
    title: str | None = None


class Missed(Struct, frozen=True, kw_only=True, tag_field="type", tag="missed"):
    """An entry that can't be taken."""

    entry: str
    problem: Problem


class Rest(Struct, frozen=True, kw_only=True, tag_field="type", tag="rest"):
    """The entries that follow have not been looked at."""

    problem: Problem
    #: How many they are, where the site says so.
    count: int | None = None


class Read(Struct, frozen=True, kw_only=True, tag_field="type", tag="read"):
    """The playlist has been read, as far as it is wanted."""

    title: str | None = None


ExpandReport = Reading | Recognized | Found | Missed | Rest | Read


class DecodeRequest(Struct, frozen=True, kw_only=True):
    """Decode the sound of ``source`` into canonical PCM at ``target``; all are absolute paths."""

    source: str
    target: str
    #: Where the picture in its tags is put, if it has one.
    cover: str
    max_seconds: float


class Decoding(Struct, frozen=True, kw_only=True, tag_field="type", tag="decoding"):
    """So far."""

    #: Seconds of sound written.
    seconds: float
    #: Share of the file that is done, 0 to 1; None where its length is unknown.
    fraction: float | None = None


class Decoded(Struct, frozen=True, kw_only=True, tag_field="type", tag="decoded"):
    """The whole track."""

    #: BLAKE2b of the PCM, 160 bits, in hex.
    digest: str
    frames: int
    #: Of the mono mix; ``std`` is the unbiased one.
    mean: float
    std: float
    #: ``mp3, 48000 Hz, 2 ch``
    original: str
    #: Extension that suits the container.
    extension: str
    #: Tags, sanitised.
    title: str | None = None
    artist: str | None = None


DecodeReport = Decoding | Decoded
