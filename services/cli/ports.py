"""Ports for programs that are about to be started: nobody else is given one meanwhile."""

from __future__ import annotations

import socket
from typing import Self

from services.cli.config import LOCALHOST


class Ports:
    """Ports that are bound here and not listened on, until they are let go of.

    Whoever sets ``SO_REUSEADDR`` may listen there all the same, as nats-server and aiohttp do;
    but the system gives such a port to nobody who asks for any.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, wanted: int = 0) -> int:
        """``wanted`` if nobody listens on it, else some port that is free."""
        ours = {held.getsockname()[1] for held in self._held}
        for port in (wanted, 0):
            if port in ours:
                continue
            held = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held.bind((LOCALHOST, port))
            except OSError:
                held.close()
                continue
            self._held.append(held)
            return int(held.getsockname()[1])
        raise OSError("no free port")

    def close(self) -> None:
        """Let go of all."""
        while self._held:
            self._held.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def free_port(wanted: int = 0) -> int:
    """``wanted`` if nobody listens on it, else some port that is free at this moment."""
    with Ports() as ports:
        return ports.take(wanted)
