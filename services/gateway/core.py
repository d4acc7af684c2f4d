"""The gateway's pure rules: what a request may say, what a page of jobs is, what a range means."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from shared.contracts.audio import INSTRUMENTAL, VOCALS
from shared.contracts.live import ModelOffer, Progress
from shared.contracts.models import AUTO, AUTO_CANDIDATES
from shared.contracts.request import Options, Source
from shared.contracts.snapshot import Snapshot
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Longest URL: what browsers and servers agree on.
MAX_URL: Final = 2048
#: Most stems that one job may ask for by name.
MAX_STEMS: Final = 16


class SourceRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request's source, as it came."""

    url: str | None = None
    upload: str | None = None


class OptionsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request's options, as they came."""

    model: str = AUTO
    stems: list[str] = []
    format: str = "flac"


class JobRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/jobs``, as it came."""

    source: SourceRequest
    options: OptionsRequest = OptionsRequest()
    run_at: datetime | None = None


def parse_job_request(body: bytes) -> JobRequest:
    """The request in ``body``; ``request.malformed`` says where it goes wrong."""
    try:
        return msgspec.json.decode(body, type=JobRequest)
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
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:200])
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:200]) from exc
    if parts.scheme and parts.scheme not in {"http", "https"}:
        # "example.org:80/a" parses as a scheme, too: without "//" it is no URL of ours.
        code = Code.SOURCE_SCHEME if "://" in url else Code.SOURCE_NOT_A_URL
        raise TerminalError(code, url[:200])
    if not parts.scheme or not host:
        raise TerminalError(Code.SOURCE_NOT_A_URL, url[:200])
    return url


def admit_options(
    asked: OptionsRequest, offers: Mapping[str, ModelOffer], *, complete: bool
) -> Options:
    """The options, if some model can fulfil them.

    While it is not known what separators have (``complete`` is False, or a model's sources are
    empty), what can't be refused for sure is let through: the separator has the last word.
    """
    try:
        options = msgspec.convert(
            {"model": asked.model, "stems": asked.stems, "format": asked.format}, Options
        )
    except msgspec.ValidationError as exc:
        raise TerminalError(Code.REQUEST_MALFORMED, f"options: {exc}") from exc
    if len(options.stems) > MAX_STEMS or len(set(options.stems)) != len(options.stems):
        raise TerminalError(Code.REQUEST_MALFORMED, "options.stems: name each stem once")
    if options.model != AUTO and options.model not in offers:
        if complete or not TOKEN.match(options.model):
            raise TerminalError(Code.MODEL_UNKNOWN, options.model[:64])
        return options
    names = AUTO_CANDIDATES if options.model == AUTO else (options.model,)
    candidates = [offers[name] for name in names if name in offers]
    if not all(offer.sources for offer in candidates):
        return options
    made = {stem for offer in candidates for stem in stems_of(offer)}
    for stem in options.stems:
        if stem not in made:
            detail = f"{stem[:64]!r}; {options.model} makes {', '.join(sorted(made))}"
            raise TerminalError(Code.MODEL_NO_SUCH_STEM, detail)
    return options


def stems_of(offer: ModelOffer) -> tuple[str, ...]:
    """Every stem that a model can deliver, the derived one included."""
    derived = (INSTRUMENTAL,) if VOCALS in offer.sources else ()
    return (*offer.sources, *(stem for stem in derived if stem not in offer.sources))


class Cursor(NamedTuple):
    """Where a page of the job list begins: after this job, newest first."""

    created_at: str
    job_id: str


def encode_cursor(cursor: Cursor) -> str:
    """The cursor as an opaque token."""
    return base64.urlsafe_b64encode("|".join(cursor).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """The cursor in a token; ``request.malformed`` if it is none."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        created_at, job_id = raw.split("|")
    except (binascii.Error, ValueError) as exc:
        raise TerminalError(Code.REQUEST_MALFORMED, "cursor") from exc
    return Cursor(created_at, job_id)


def whole_number(name: str, text: str, lowest: int, highest: int) -> int:
    """A query parameter's number; ``request.malformed`` if it is none or out of bounds."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or not lowest <= int(text) <= highest:
        detail = f"{name}: a whole number from {lowest} to {highest}"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    return int(text)


def current(snapshot: Snapshot, live: Progress | None) -> Snapshot:
    """A snapshot with what ticks have told since: never less than either says."""
    if live is None or snapshot.status.terminal:
        return snapshot
    return msgspec.structs.replace(
        snapshot,
        progress=max(snapshot.progress, live.progress),
        eta=live.eta or snapshot.eta,
    )


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The one range that a Range header asks of ``size`` bytes, end exclusive.

    None means the whole file: no header, several ranges, or a unit that isn't bytes (RFC 9110
    lets a server ignore these).  ``stem.range_not_satisfiable`` if it lies outside.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or (not first and int(last) == 0):
        raise TerminalError(Code.RANGE_NOT_SATISFIABLE, f"the file has {size} bytes")
    return start, end
