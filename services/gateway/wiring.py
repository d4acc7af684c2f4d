"""Where the gateway's objects meet."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from services.gateway.actor import Asker
from services.gateway.catalogue import Catalogue
from services.gateway.feed import Feed
from services.gateway.http import Server
from services.gateway.jobs import Jobs
from services.gateway.projection import Projection
from services.gateway.ring import Ring
from services.gateway.sse import Events
from services.gateway.stems import Stems
from services.gateway.uploads import Uploads
from shared.blobs import BlobStore, open_store
from shared.jetstream.speaker import JetStreamSpeaker
from shared.jetstream.store import JobStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from services.gateway.config import GatewayConfig
    from shared.service import Part, Resources


async def assemble(
    config: GatewayConfig, resources: Resources, stack: AsyncExitStack
) -> Sequence[Part]:
    """The gateway's parts: the feed that keeps it current, and the server."""
    nc, log, telemetry = resources.nc, resources.log, resources.telemetry
    scratch = Path(config.scratch_dir)
    scratch.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing is served yet
    projection = Projection(scratch / f"{resources.instance}.sqlite")
    stack.callback(projection.close)
    ring, catalogue = Ring(), Catalogue(monotonic)
    blobs = BlobStore(open_store(config.blobs_url))
    feed = Feed(
        nc=nc,
        records=JobStore(nc, log),
        projection=projection,
        ring=ring,
        catalogue=catalogue,
        log=log,
    )
    await feed.start()
    asker = Asker(
        nc=nc,
        inbox=JetStreamSpeaker(nc, log, telemetry),
        answer_seconds=config.answer_seconds,
        log=log,
    )
    await asker.start()
    jobs = Jobs(
        asker=asker,
        feed=feed,
        projection=projection,
        catalogue=catalogue,
        blobs=blobs,
        telemetry=telemetry,
    )
    events = Events(
        feed=feed,
        projection=projection,
        ring=ring,
        max_streams=config.max_streams,
        stall_seconds=config.stream_stall_seconds,
    )
    telemetry.gauge("streams_open", "Live connections", lambda: events.open)
    server = Server(
        config=config,
        jobs=jobs,
        uploads=Uploads(
            blobs=blobs,
            max_bytes=config.max_upload_bytes,
            max_uploads=config.max_uploads,
            silence_seconds=config.upload_silence_seconds,
        ),
        stems=Stems(jobs=jobs, blobs=blobs, stall_seconds=config.stem_stall_seconds),
        events=events,
        catalogue=catalogue,
        health=resources.health,
        log=log,
    )
    return [feed, server]
