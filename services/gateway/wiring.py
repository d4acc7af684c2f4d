"""Where the gateway's objects meet."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from services.gateway.actor import Asker
from services.gateway.admission import Admission
from services.gateway.batches import Batches
from services.gateway.bundle import Bundles
from services.gateway.catalogue import Catalogue
from services.gateway.feed import Feed
from services.gateway.http import Server
from services.gateway.jobs import Jobs
from services.gateway.news import News
from services.gateway.overview import Overviews
from services.gateway.pieces import Pieces
from services.gateway.places import Places
from services.gateway.projection import Projection
from services.gateway.ring import Ring
from services.gateway.rumours import Rumours
from services.gateway.schema import open_database
from services.gateway.search import Search
from services.gateway.sse import Events
from services.gateway.stats import Stats
from services.gateway.stems import Stems
from services.gateway.tallies import Tallies
from services.gateway.upkeep import Upkeep
from services.gateway.uploads import Uploads
from services.gateway.workers import Workers
from shared.blobs import BlobStore, free_bytes, open_store
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
    """The gateway's parts: what keeps it current, what keeps it in order, and the server."""
    nc, log, telemetry = resources.nc, resources.log, resources.telemetry
    now = partial(datetime.now, UTC)
    scratch = Path(config.scratch_dir)
    scratch.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing is served yet
    db = open_database(scratch / f"{resources.instance}.sqlite")
    stack.callback(db.close)
    projection, search, tallies = Projection(db), Search(db), Tallies(db)
    ring, places = Ring(), Places(now=now, steady=monotonic)
    catalogue, workers = Catalogue(monotonic), Workers(monotonic)
    overviews = Overviews(projection=projection, tallies=tallies)
    blobs = BlobStore(open_store(config.blobs_url))
    records = JobStore(nc, log)
    feed = Feed(
        nc=nc,
        records=records,
        projection=projection,
        overviews=overviews,
        places=places,
        ring=ring,
        now=now,
        log=log,
    )
    await Rumours(nc=nc, places=places, catalogue=catalogue, workers=workers, log=log).start()
    await feed.start()
    asker = Asker(
        nc=nc,
        inbox=JetStreamSpeaker(nc, log, telemetry),
        answer_seconds=config.answer_seconds,
        now=now,
        log=log,
    )
    await asker.start()
    admission = Admission(
        catalogue=catalogue, projection=projection, owner_header=config.owner_header, now=now
    )
    jobs = Jobs(
        asker=asker,
        admission=admission,
        feed=feed,
        projection=projection,
        search=search,
        blobs=blobs,
        telemetry=telemetry,
    )
    batches = Batches(
        asker=asker,
        admission=admission,
        projection=projection,
        overviews=overviews,
        blobs=blobs,
        telemetry=telemetry,
    )
    stats = Stats(
        tallies=tallies,
        projection=projection,
        places=places,
        workers=workers,
        now=now,
        steady=monotonic,
    )
    uploads = Uploads(
        blobs=blobs,
        room=partial(free_bytes, config.blobs_url),
        min_free_bytes=config.min_free_bytes,
        max_bytes=config.max_upload_bytes,
        max_uploads=config.max_uploads,
        silence_seconds=config.upload_silence_seconds,
    )
    stems = Stems(jobs=jobs, blobs=blobs, stall_seconds=config.stem_stall_seconds)
    bundles = Bundles(jobs=jobs, blobs=blobs, stall_seconds=config.stem_stall_seconds)
    pieces = Pieces(
        jobs=jobs,
        records=records,
        blobs=blobs,
        max_at_once=config.max_pieces,
        stall_seconds=config.piece_stall_seconds,
    )
    events = Events(
        feed=feed,
        projection=projection,
        ring=ring,
        max_streams=config.max_streams,
        stall_seconds=config.stream_stall_seconds,
    )
    telemetry.gauge("streams_open", "Live connections", lambda: events.open)
    telemetry.gauge("pieces_open", "Pieces that are being sent", lambda: pieces.open)
    handlers = (jobs, batches, stats, uploads, stems, bundles, pieces, resources.health)
    server = Server(
        config=config,
        routes=[route for handler in handlers for route in handler.routes()],
        events=events,
        catalogue=catalogue,
        log=log,
    )
    news = News(feed=feed, projection=projection, overviews=overviews, places=places, ring=ring)
    return [feed, news, Upkeep(projection=projection, search=search, now=now), server]
