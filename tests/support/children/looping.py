"""A child whose main thread computes what its lanes hand to it."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, NamedTuple

from shared.child_main import serve
from tests.support.children.obedient import Do, Said

if TYPE_CHECKING:
    from shared.child_main import Reporter


class Piece(NamedTuple):
    """Something to compute; ``done`` when it is."""

    request: Do
    report: Reporter
    done: threading.Event


class Loop:
    """Two lanes' pieces, computed two at a time: only together."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[Piece] = queue.Queue()

    def handle(self, request: Do, report: Reporter) -> None:
        """Hand it on and wait."""
        piece = Piece(request, report, threading.Event())
        self._pieces.put(piece)
        piece.done.wait()

    def run(self) -> None:
        """Say for both who is in the batch, and in which thread; a piece ``end`` ends it."""
        while True:
            batch = [self._pieces.get()]
            match batch[0].request.what:
                case "return":
                    return
                case "raise":
                    raise KeyError(batch[0].request.text)
            batch.append(self._pieces.get())
            texts = sorted(piece.request.text for piece in batch)
            for piece in batch:
                piece.report(Said(f"{'+'.join(texts)} in {threading.current_thread().name}"))
                piece.done.set()


if __name__ == "__main__":
    loop = Loop()
    serve(Do, loop.handle, lanes=2, main=loop.run)
