"""Pure rules that have no room of their own: what a parameter, a range, a tick means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from shared.contracts.live import Progress
    from shared.contracts.snapshot import Snapshot


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
