"""What the clients ask for, and when: a pure function of a seed."""

from __future__ import annotations

import random
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

K = TypeVar("K", bound=str)


class Source(StrEnum):
    """Where a job's song comes from."""

    UPLOAD = "upload"
    URL = "url"
    #: A page that is not there.
    GONE = "gone"
    #: A text file by the name of a song: by address, and as an upload.
    TEXT_URL = "text by url"
    TEXT_UPLOAD = "text as upload"


#: What jobs with a bad source must fail with.
FAILS_WITH: Final[Mapping[Source, str]] = MappingProxyType(
    {
        Source.GONE: "source.not_found",
        Source.TEXT_URL: "source.not_audio",
        Source.TEXT_UPLOAD: "source.not_audio",
    }
)
#: How often each source is asked for, and each format, and each way to change one's mind.
_SOURCES: Final = {
    Source.UPLOAD: 40, Source.URL: 40, Source.GONE: 8, Source.TEXT_URL: 6, Source.TEXT_UPLOAD: 6,
}  # fmt: skip
_FORMATS: Final = {"flac": 6, "mp3": 2, "wav": 1, "opus": 1, "m4a": 1}
_CANCELS, _RETRIES = 0.2, 0.4
#: Seconds after its acceptance that a job is cancelled at the latest.
LATEST_CANCEL: Final = 10.0


class Order(Struct, frozen=True, kw_only=True):
    """One client's wish."""

    number: int
    #: Seconds after the beginning.
    at: float
    source: Source
    #: Which of the songs; meaningless for a bad source.
    song: int
    format: str
    #: Seconds after its acceptance that it is called off; None if it is left alone.
    cancel_after: float | None
    #: Whether it is taken up again, once, when it has failed or was cancelled.
    retry: bool


def orders(seed: int, *, count: int, seconds: float, songs: int) -> tuple[Order, ...]:
    """``count`` orders within ``seconds``, in the order of time."""
    chance = random.Random(f"orders {seed}")  # noqa: S311 - to be replayed, not to be secret
    times = sorted(round(chance.uniform(0.0, seconds), 2) for _ in range(count))
    return tuple(_order(chance, number, at, songs) for number, at in enumerate(times))


def _order(chance: random.Random, number: int, at: float, songs: int) -> Order:
    source = _drawn(chance, _SOURCES)
    cancelled = chance.random() < _CANCELS
    after = round(chance.uniform(0.0, LATEST_CANCEL), 2)
    ends_badly = cancelled or source in FAILS_WITH
    return Order(
        number=number,
        at=at,
        source=source,
        song=chance.randrange(songs),
        format=_drawn(chance, _FORMATS),
        cancel_after=after if cancelled else None,
        retry=ends_badly and chance.random() < _RETRIES,
    )


def _drawn(chance: random.Random, weights: Mapping[K, int]) -> K:
    return chance.choices(tuple(weights), tuple(weights.values()))[0]
