"""Ports that are kept for somebody."""

from __future__ import annotations

import socket

from services.cli.ports import Ports, free_port


def listen(port: int) -> socket.socket:
    """As a server does."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_a_port_that_is_kept_is_given_to_nobody_who_asks_for_any() -> None:
    with Ports() as ports, Ports() as others:
        kept = {ports.take() for _ in range(300)}
        assert len(kept) == 300
        assert not kept & {others.take() for _ in range(300)}
        assert not kept & {free_port() for _ in range(1000)}


def test_whoever_it_is_for_may_listen_there_and_then_it_is_taken() -> None:
    with Ports() as ports:
        port = ports.take()
        with listen(port):
            assert ports.take(port) != port
            assert free_port(port) != port


def test_the_same_port_is_not_given_twice() -> None:
    with Ports() as ports:
        port = ports.take()
        assert ports.take(port) != port


def test_a_port_that_is_wanted_and_free_is_the_one() -> None:
    port = free_port()
    with Ports() as ports:
        assert ports.take(port) == port
