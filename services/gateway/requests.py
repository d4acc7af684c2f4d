"""What a request's body may say, and what it comes to.  Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from shared.contracts.batch import MAX_ENTRIES, Entry, Skipped
from shared.contracts.models import AUTO
from shared.contracts.problem import Problem
from shared.contracts.request import Priority, Source, Terms
from shared.contracts.subjects import TOKEN
from shared.errors import Code, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Longest URL: what browsers and servers agree on.
MAX_URL: Final = 2048
#: Longest owner's name.
MAX_OWNER: Final = 64
#: Longest id of a job; of a batch, whose jobs' ids are made of it and a number.
MAX_JOB_ID: Final = 64
MAX_BATCH_ID: Final = MAX_JOB_ID - len(f"-{MAX_ENTRIES - 1}")
#: Characters of a skipped entry that are shown.
MAX_SHOWN: Final = 200
_KEY: Final = re.compile(r"[!-~]{1,255}")

R = TypeVar("R", bound=Struct)


class SourceRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request's source, as it came."""

    url: str | None = None
    upload: str | None = None


class OptionsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request's options, as they came."""

    model: str = AUTO
    stems: list[str] = []
    format: str = "flac"
    #: ``exact`` or ``fast``; null leaves it to the separators' operator.
    precision: str | None = None
    shifts: int = 0
    reuse: bool = True


class Wishes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bodies of ``POST /v1/jobs`` and ``POST /v1/batches`` have in common, as it came."""

    options: OptionsRequest = OptionsRequest()
    priority: Priority = Priority.NORMAL
    owner: str | None = None
    run_at: datetime | None = None
    deadline: datetime | None = None
    id: str | None = None


class JobRequest(Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/jobs``, as it came."""

    source: SourceRequest


class BatchRequest(Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/batches``, as it came: a playlist, or songs."""

    playlist: str | None = None
    urls: list[str] | None = None
    uploads: list[str] | None = None


class PriorityRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/jobs/{id}/priority``."""

    priority: Priority


def parse(body: bytes, kind: type[R]) -> R:
    """The request in ``body``; ``request.malformed`` says where it goes wrong."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise TerminalError(Code.REQUEST_MALFORMED, str(exc)) from exc


def admit_source(asked: SourceRequest) -> Source:
    """The source, if it can be one; whether it can be reached is the downloader's to find out."""
    if (asked.url is None) == (asked.upload is None):
        raise TerminalError(Code.REQUEST_MALFORMED, "source: give either a url or an upload")
    if asked.upload is not None:
        if not TOKEN.match(asked.upload):
            raise TerminalError(Code.SOURCE_UPLOAD_MISSING, asked.upload[:64])
        return Source(upload=asked.upload)
    return Source(url=admit_url(asked.url or ""))


def admit_url(text: str) -> str:
    """``text`` as an http(s) URL; ``source.not_a_url`` or ``source.scheme`` if it is none."""
    url = text.strip()
    if not url or len(url) > MAX_URL or re.search(r"[\x00-\x20\x7f]", url):
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:MAX_SHOWN])
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:MAX_SHOWN]) from exc
    if parts.scheme and parts.scheme not in {"http", "https"}:
        # "example.org:80/a" parses as a scheme, too: without "//" it is no URL of ours.
        code = Code.SOURCE_SCHEME if "://" in url else Code.SOURCE_NOT_A_URL
        raise TerminalError(code, url[:MAX_SHOWN])
    if not parts.scheme or not host:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:MAX_SHOWN])
    return url


def admit_owner(named: str | None, header: str, told: Sequence[str]) -> str:
    """Whose job it is: what a trusted proxy says in ``header``, or else what the body says.

    ``told`` is what the requests' headers of that name say.  Where a header is expected, a
    request without it did not come through the proxy.
    """
    if header and len(set(told)) != 1:
        raise TerminalError(Code.REQUEST_FORBIDDEN, f"{header}: this is not said, or said twice")
    owner = told[0] if header else named or ""
    if len(owner) > MAX_OWNER or not owner.isprintable():
        detail = f"owner: at most {MAX_OWNER} characters that can be printed"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    if header and (not owner or named not in {None, owner}):
        raise TerminalError(Code.REQUEST_FORBIDDEN, f"owner: {header} says otherwise")
    return owner


def admit_key(told: Sequence[str]) -> str | None:
    """The ``Idempotency-Key``, if there is one."""
    if not told:
        return None
    if len(told) > 1 or not _KEY.fullmatch(told[0]):
        detail = "Idempotency-Key: once, with 1 to 255 visible characters"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    return told[0]


def id_of_key(owner: str, key: str) -> str:
    """The id of what is submitted under a key: the same again, and for each owner another."""
    return "k" + blake2b(f"{owner}\0{key}".encode()).hexdigest()[:24]


def admit_id(text: str, longest: int = MAX_JOB_ID) -> str:
    """A client's own id."""
    if len(text) > longest or not TOKEN.match(text):
        detail = f"id: 1 to {longest} letters, digits, '_' and '-'"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    return text


def admit_terms(asked: Wishes, owner: str, now: datetime, *, again: bool) -> Terms:
    """The terms, if they can be met; what came ``again`` was in time when it came first."""
    run_at = _instant("run_at", asked.run_at)
    deadline = _instant("deadline", asked.deadline)
    if deadline is not None:
        if run_at is not None and deadline <= run_at:
            raise TerminalError(Code.REQUEST_MALFORMED, "deadline: it must come after run_at")
        if deadline <= now and not again:
            raise TerminalError(Code.REQUEST_MALFORMED, "deadline: it must be in the future")
    return Terms(owner=owner, priority=asked.priority, run_at=run_at, deadline=deadline)


def _instant(name: str, moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise TerminalError(Code.REQUEST_MALFORMED, f"{name}: give a time with its zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:  # at either end of the calendar
        raise TerminalError(Code.REQUEST_MALFORMED, f"{name}: this is no time") from exc


def admit_playlist(asked: BatchRequest) -> str | None:
    """The playlist's address, or None where songs are given one by one; never both, never none."""
    songs = asked.urls is not None or asked.uploads is not None
    if songs == (asked.playlist is not None):
        raise TerminalError(Code.REQUEST_MALFORMED, "give urls and uploads, or a playlist")
    if asked.playlist is not None:
        return admit_url(asked.playlist)
    count = len(asked.urls or ()) + len(asked.uploads or ())
    if count > MAX_ENTRIES:
        raise TerminalError(Code.BATCH_TOO_LONG, f"{count} songs; at most {MAX_ENTRIES}")
    return None


def admit_entries(
    asked: BatchRequest, uploaded: Mapping[str, Source]
) -> tuple[tuple[Entry, ...], tuple[Skipped, ...]]:
    """The songs that can be taken, and those that can't; ``uploaded``: the uploads there are."""
    entries, skipped = list[Entry](), list[Skipped]()
    urls = (SourceRequest(url=url) for url in asked.urls or ())
    uploads = (SourceRequest(upload=upload) for upload in asked.uploads or ())
    for song in (*urls, *uploads):
        try:
            source = admit_source(song)
            if source.upload is not None and source.upload not in uploaded:
                raise TerminalError(Code.SOURCE_UPLOAD_MISSING, source.upload)
            source = uploaded[source.upload] if source.upload is not None else source
        except StembusError as exc:
            shown = (song.url or song.upload or "")[:MAX_SHOWN]
            skipped.append(Skipped(entry=shown, problem=Problem.of(exc)))
        else:
            entries.append(Entry(source=source))
    if not entries:
        first = f"; the first: {skipped[0].problem.title}" if skipped else ""
        raise TerminalError(Code.BATCH_EMPTY, f"{len(skipped)} were skipped{first}")
    return tuple(entries), tuple(skipped)
