"""Moments and spans of time, as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)")
_SPANS: Final = re.compile(rf"(?:{_SPAN.pattern}[\s,]*)+")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: The units a span is told in: as soon as there are this many of one, the next smaller is left out.
_TOLD_IN_SECONDS: Final = 90
_TOLD_IN_MINUTES: Final = 90 * 60
_TOLD_IN_HOURS: Final = 36 * 3_600


def moment(text: str, now: datetime | None = None) -> datetime:
    """The moment that ``text`` names; ValueError with a sentence if it names none.

    ``in 2h``, ``in 1h 30m``: that long from now.  ``22:30``: when the clock shows it next.
    ISO 8601, as in ``2026-12-24T18:00``: in this machine's zone unless it names one.
    """
    now = now or datetime.now().astimezone()
    text = text.strip()
    try:
        if text.startswith("in "):
            return now + _span(text.removeprefix("in ").strip())
        if clock := _CLOCK.fullmatch(text):
            return _next(time.fromisoformat(f"{clock[1]:0>2}:{clock[2]}:{clock[3] or 0:0>2}"), now)
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; write 22:30, in 2h or 2026-12-24T18:00") from None


def _span(text: str) -> timedelta:
    """The span of ``1h 30m``."""
    if not _SPANS.fullmatch(text):
        raise ValueError(text)
    seconds = (float(count) * _SECONDS[unit[0]] for count, unit in _SPAN.findall(text))
    return timedelta(seconds=sum(seconds))


def _next(clock: time, now: datetime) -> datetime:
    """When the clock on the wall shows ``clock`` next."""
    wall = now.replace(tzinfo=None)
    today = datetime.combine(wall.date(), clock)
    # Through the naive time: tomorrow may have another distance to UTC.
    return (today if today > wall else today + timedelta(days=1)).astimezone()


def duration(seconds: float) -> str:
    """A span in words: ``45 s``, ``12 min``, ``2 h 10 min``, ``3 days``."""
    seconds = max(0.0, seconds)
    if seconds < _TOLD_IN_SECONDS:
        return f"{seconds:.0f} s"
    if seconds < _TOLD_IN_MINUTES:
        return f"{seconds / 60:.0f} min"
    if seconds < _TOLD_IN_HOURS:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 86_400:.0f} days"


def until(at: datetime) -> float:
    """Seconds from now to ``at``; 0 if it has passed."""
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def local(at: datetime) -> str:
    """A moment on this machine's clock."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
