"""Stembus in the race: broker, scheduler, gateway, and workers that answer at once."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import nats

from shared.contracts.codec import encode
from shared.contracts.subjects import id_of, subject_of
from tests.benchmarks.audience import Audience
from tests.benchmarks.plane import GATEWAY, HANDS, SCHEDULER, new_session, running_plane
from tests.support.jobs import submit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from nats.aio.client import Client

    from tests.benchmarks.plane import Plane


class Stembus:
    """Over its HTTP API, as its clients use it."""

    name = "Stembus"
    terms = (
        "It stores the command, then for every transition one record (compare-and-set, with"
        " the words that follow in it), then each order and each fact as a message: a job with"
        " eight chunks has eight of each. A killed worker's work comes again after 30 s, a"
        " killed scheduler's place is taken in 6 s; results of an old attempt are refused."
        " Submissions go over HTTP and are answered once the scheduler has decided."
    )
    ahead = behind = "it is the same"

    @asynccontextmanager
    async def running(self, folder: Path, *, workers: bool) -> AsyncIterator[OverHttp]:
        """See ``Contender``."""
        modules = (SCHEDULER, GATEWAY, *([HANDS] if workers else []))
        async with running_plane(folder, *modules) as plane, new_session() as session:
            nc = await nats.connect(plane.nats_url)
            audience = Audience(session, plane.url)
            async with audience.watching():
                yield self._entrance(plane, audience, nc)
            await nc.close()

    def _entrance(self, plane: Plane, audience: Audience, nc: Client) -> OverHttp:
        return OverHttp(plane, audience, nc)


class StembusBus(Stembus):
    """Past its gateway: the command straight into the scheduler's inbox, nobody waits."""

    name = "Stembus, straight to the bus"
    terms = (
        "This is what the others' submissions are, too: the client itself speaks to"
        " the broker, and has the broker's word only. The scheduler runs and takes the jobs in."
    )
    ahead = "there is no HTTP, and nobody waits for the scheduler's decision"
    behind = "the scheduler lags behind, and takes the same cores"

    def _entrance(self, plane: Plane, audience: Audience, nc: Client) -> OverHttp:
        return OverBus(plane, audience, nc)


class OverHttp:
    """See ``Running``."""

    def __init__(self, plane: Plane, audience: Audience, nc: Client) -> None:
        self._plane = plane
        self._audience = audience
        self._js = nc.jetstream()

    async def submit(self) -> str:
        """See ``Running``: the gateway's 201."""
        return await self._audience.submit()

    async def ended(self, job_id: str) -> None:
        """See ``Running``: an event of the live stream."""
        assert await self._audience.ended(job_id) == "completed", job_id

    def pids(self) -> Sequence[int]:
        """See ``Running``."""
        return list(self._plane.pids().values())

    async def stored(self) -> int:
        """See ``Running``."""
        return sum(stream.state.last_seq for stream in await self._js.streams_info())


class OverBus(OverHttp):
    """See ``StembusBus``."""

    async def submit(self) -> str:
        """See ``Running``: the broker's confirmation."""
        command = submit(secrets.token_hex(8))
        headers = {"Nats-Msg-Id": id_of(command)}
        await self._js.publish(subject_of(command), encode(command), headers=headers)
        return command.job_id
