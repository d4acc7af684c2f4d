"""Short songs, all different, on a site and as files; and a text that pretends to be one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.chaos.orders import Source
from tests.support import media
from tests.support.audio import song
from tests.support.site import running_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.orders import Order

SONGS: Final = 12
#: Every sixth song has two chunks, where a chunk has one window; the others have one.
LONG_EVERY: Final = 6
LONG_SECONDS: Final = 16.0
#: What the services are told, so that it is so.
SETTINGS: Final = {
    "STEMBUS_WINDOWS_PER_CHUNK": "1",
    # As it is shipped: while no scheduler is there, a 201 becomes a 202.
    "STEMBUS_ANSWER_SECONDS": "3",
}
_TEXT: Final = "text.mp3"


class Songs(NamedTuple):
    """A folder, which a site serves."""

    folder: Path
    base: str

    def path(self, order: Order) -> Path:
        """The file that is sent for an order."""
        return self.folder / (_TEXT if order.source is Source.TEXT_UPLOAD else _name(order.song))

    def url(self, order: Order) -> str:
        """The address that is sent for an order."""
        match order.source:
            case Source.GONE:
                return f"{self.base}/status/404?{order.number}"
            case Source.TEXT_URL:
                return f"{self.base}/media/{_TEXT}"
            case _:
                return f"{self.base}/media/{_name(order.song)}"


@contextmanager
def offered_songs(folder: Path) -> Iterator[Songs]:
    """Make them and serve them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(SONGS):
        seconds = LONG_SECONDS if number % LONG_EVERY == 0 else 0.5 + number / 20
        media.write_audio(folder / _name(number), song(seconds, seed=number).mix.T)
    media.write_bytes(folder / _TEXT, b"la la la\n" * 1000)
    with running_site(folder) as site:
        yield Songs(folder, site.base)


def _name(number: int) -> str:
    return f"song-{number}.flac"
