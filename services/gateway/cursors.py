"""What a list is asked for: filters, an order, and where a page begins.  Pure."""

from __future__ import annotations

import base64
import unicodedata
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from services.gateway.core import whole_number
from services.gateway.requests import MAX_OWNER
from shared.contracts.job import Status
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Entries on a page: by default, and at most.
PAGE: Final = 50
LARGEST_PAGE: Final = 200
#: Characters of a search and of a cursor's token.
MAX_TERM: Final = 200
MAX_TOKEN: Final = 400
#: Categories of characters that nobody searches for: control characters, halves of pairs.
_UNSEARCHED: Final = frozenset({"Cc", "Cs"})


class Sort(NamedTuple):
    """An order: by a time, and by id where that is the same."""

    column: str
    descending: bool


SORTS: Final[Mapping[str, Sort]] = MappingProxyType(
    {
        "-created": Sort("created", descending=True),
        "created": Sort("created", descending=False),
        "-updated": Sort("updated", descending=True),
        "updated": Sort("updated", descending=False),
    }
)
NEWEST_FIRST: Final = "-created"


class Cursor(NamedTuple):
    """Where a page begins: after this entry.  The same on every gateway."""

    #: In microseconds, by which the list is sorted.
    at: int
    id: str


class Filters(NamedTuple):
    """Which jobs are wanted; None: whichever."""

    status: str | None = None
    owner: str | None = None
    batch: str | None = None
    #: Searched for.
    term: str | None = None


class Wanted(NamedTuple):
    """One page of a list."""

    filters: Filters
    sort: Sort
    after: Cursor | None
    limit: int
    #: What its cursors are good for: this list in this order.
    about: str


def wanted_jobs(query: Mapping[str, str]) -> Wanted:
    """What a query string asks of the list of jobs; ``request.malformed`` if it makes no sense."""
    filters = Filters(
        status=_one_of("status", query.get("status"), set(Status)),
        owner=_owner(query.get("owner")),
        batch=_token("batch", query.get("batch")),
        term=_term(query.get("q")),
    )
    order = _one_of("sort", query.get("sort"), set(SORTS)) or NEWEST_FIRST
    return _wanted(query, filters, order, "jobs")


def wanted_batches(query: Mapping[str, str]) -> Wanted:
    """The same of the list of batches, which is always newest first."""
    return _wanted(query, Filters(), NEWEST_FIRST, "batches")


def _wanted(query: Mapping[str, str], filters: Filters, order: str, kind: str) -> Wanted:
    about = msgspec.json.encode((kind, order, *filters)).decode()
    token = query.get("cursor")
    return Wanted(
        filters,
        SORTS[order],
        decode_cursor(token, about) if token else None,
        whole_number("limit", query.get("limit") or str(PAGE), 1, LARGEST_PAGE),
        about,
    )


def encode_cursor(cursor: Cursor, about: str) -> str:
    """The cursor as an opaque token that is good for the list ``about`` only."""
    raw = msgspec.json.encode((_digest(about), *cursor))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(token: str, about: str) -> Cursor:
    """The cursor in a token; ``request.malformed`` if it is none, or one of another list."""
    padded = token[:MAX_TOKEN] + "=" * (-len(token) % 4)
    try:
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        digest, at, key = msgspec.json.decode(raw, type=tuple[str, int, str])
    except (ValueError, msgspec.MsgspecError, RecursionError) as exc:
        raise TerminalError(Code.REQUEST_MALFORMED, "cursor: this is none of ours") from exc
    if digest != _digest(about):
        detail = "cursor: it belongs to another list; keep filters and sort from page to page"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    if not (TOKEN.match(key) and 0 <= at < 1 << 62):
        raise TerminalError(Code.REQUEST_MALFORMED, "cursor: this is none of ours")
    return Cursor(at, key)


def _digest(about: str) -> str:
    return blake2b(about.encode(), digest_size=6).hexdigest()


def searchable(text: str) -> str:
    """``text`` in the form in which it is compared: case and ways of writing don't count."""
    return unicodedata.normalize("NFKC", text).casefold().replace("\x00", " ")


def _one_of(name: str, text: str | None, allowed: set[str]) -> str | None:
    if text and text not in allowed:
        detail = f"{name}: one of {', '.join(sorted(allowed))}"
        raise TerminalError(Code.REQUEST_MALFORMED, detail)
    return text or None


def _owner(text: str | None) -> str | None:
    if text and not (len(text) <= MAX_OWNER and text.isprintable()):
        raise TerminalError(Code.REQUEST_MALFORMED, "owner: this can be nobody's name")
    return text or None


def _token(name: str, text: str | None) -> str | None:
    if text and not TOKEN.match(text):
        raise TerminalError(Code.REQUEST_MALFORMED, f"{name}: this can be no id")
    return text or None


def _term(text: str | None) -> str | None:
    term = (text or "").strip()
    if len(term) > MAX_TERM:
        raise TerminalError(Code.REQUEST_MALFORMED, f"q: at most {MAX_TERM} characters")
    if any(unicodedata.category(character) in _UNSEARCHED for character in term):
        raise TerminalError(Code.REQUEST_MALFORMED, "q: control characters are not searched for")
    return searchable(term) or None
