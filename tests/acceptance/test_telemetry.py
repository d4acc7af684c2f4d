"""One job is one trace across all services, and every service counts its messages."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.api import PATIENCE, Api
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack

SERVICES = {"stembus-gateway", "stembus-scheduler", "stembus-downloader", "stembus-separator"}
#: A message type that each service handles, the gateway aside, which takes requests.
HANDLED = {"scheduler": "SubmitJob", "downloader": "DownloadWork", "separator": "SeparateWork"}


class Span(NamedTuple):
    """A finished span."""

    service: str
    name: str
    trace: bytes
    id: bytes
    parent: bytes
    job: str


class Collector:
    """Takes spans over OTLP."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []
        self.came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        batch = ExportTraceServiceRequest.FromString(await request.read())
        async with self.came:
            for group in batch.resource_spans:
                about = {one.key: one.value.string_value for one in group.resource.attributes}
                for scope in group.scope_spans:
                    for span in scope.spans:
                        told = {one.key: one.value.string_value for one in span.attributes}
                        self.spans.append(
                            Span(
                                service=about["service.name"],
                                name=span.name,
                                trace=span.trace_id,
                                id=span.span_id,
                                parent=span.parent_span_id,
                                job=told.get("stembus.job_id", ""),
                            )
                        )
            self.came.notify_all()
        return web.Response()

    async def until(self, names: set[str]) -> None:
        """Wait until spans of all these names have come."""
        async with asyncio.timeout(PATIENCE), self.came:
            await self.came.wait_for(lambda: names <= {span.name for span in self.spans})


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        collector.url = f"http://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()


async def test_one_job_is_one_trace(tmp_path: Path, songs: Songs) -> None:
    async with collecting() as collector, aiohttp.ClientSession() as session:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with running_stack(tmp_path / "data", settings=settings) as stack:
            job = await Api(session, stack.url).finished(songs.url("song.mp3"))
            work = {"DownloadWork", "PrepareWork", "SeparateWork", "FinalizeWork", "SweepWork"}
            facts = {"Downloaded", "Prepared", "Separated", "Finalized"}
            await collector.until({"POST /v1/jobs", "SubmitJob", "Dispatched", *work, *facts})
    ours = [span for span in collector.spans if span.job == job["id"]]
    assert len({span.trace for span in ours}) == 1
    assert {span.service for span in ours} == SERVICES
    assert all(span.job == job["id"] for span in collector.spans)
    ids = {span.id for span in ours}
    (root,) = [span for span in ours if not span.parent]
    assert root.name == "POST /v1/jobs"
    assert {span.parent for span in ours if span.parent} <= ids


async def metrics_of(api: Api, stack: RunningStack, service: str) -> str:
    async with api.session.get(f"http://127.0.0.1:{stack.port_of(service)}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_every_service_counts_its_messages(
    api: Api, stack: RunningStack, songs: Songs
) -> None:
    await api.finished(songs.path("song.mp3"))
    for service, kind in HANDLED.items():
        text = await metrics_of(api, stack, service)
        assert f'stembus_messages_total{{outcome="handled",type="{kind}"}}' in text, service
        assert f'stembus_message_seconds_count{{type="{kind}"}}' in text
    gateway = (await api.ask("GET", "/metrics")).body.decode()
    assert "stembus_streams_open 0.0" in gateway
    assert "stembus_scheduler_leading 1.0" in await metrics_of(api, stack, "scheduler")


async def test_every_service_says_that_it_is_ready(api: Api, stack: RunningStack) -> None:
    for service in HANDLED:
        base = f"http://127.0.0.1:{stack.port_of(service)}"
        for path in ("/health", "/ready"):
            async with api.session.get(base + path) as answer:
                assert answer.status == 200, (service, path)
    assert (await api.ask("GET", "/ready")).json == {"status": "ready"}
