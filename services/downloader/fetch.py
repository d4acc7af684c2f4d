"""The download's child process: first the guard, then yt-dlp behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.downloader.addresses import parse_networks
from services.downloader.core import check_url
from services.downloader.guard import Guard
from services.downloader.messages import FetchRequest
from shared.child_main import serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.downloader.messages import FetchReport


def handle(request: FetchRequest, report: Callable[[FetchReport], None]) -> None:
    """Download one source; this child takes no second one, since a guard can't be taken off."""
    check_url(request.url)
    guard = Guard(
        allow=parse_networks(request.allow_networks),
        programs=frozenset({request.deno} if request.deno else ()),
    )
    guard.install()
    from services.downloader.song import SongFetch  # noqa: PLC0415 - must not be imported unguarded

    SongFetch(request=request, guard=guard, report=report).run()


if __name__ == "__main__":
    serve(FetchRequest, handle)
