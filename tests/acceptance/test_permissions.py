"""The deployment's broker: the services work with what they may say, and may not say more."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import nats
import pytest

from services.cli import broker
from services.cli.client import Client
from services.cli.ports import free_port
from services.cli.supervisor import Supervised
from shared.contracts.job import Status
from shared.contracts.request import Options
from shared.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = ("scheduler", "gateway", "downloader", "separator")
USERS: Final = (*SERVICES, "admin", "observer")


def _variables() -> dict[str, str]:
    return {f"STEMBUS_{user.upper()}_PASSWORD": f"secret-of-{user}" for user in USERS}


def _url(user: str, port: int) -> str:
    return f"nats://{user}:secret-of-{user}@127.0.0.1:{port}"


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """A broker that runs ``deploy/nats.conf``, on a free port and in a folder of the test's."""
    port = free_port()
    text = (ROOT / "deploy" / "nats.conf").read_text()
    text = re.sub(r"(?m)^listen: .*$", f"listen: 127.0.0.1:{port}", text)
    text = re.sub(r"(?m)^http: .*$", "", text)
    text = text.replace("store_dir: /data", f"store_dir: {tmp_path / 'bus'}")
    config = tmp_path / "nats.conf"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        broker.executable(), "-c", str(config), env={**os.environ, **_variables()}
    )
    try:
        await broker.prepare(_url("admin", port), json_log("test", "error"))
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def _died(name: str, code: int) -> None:
    raise AssertionError(f"{name} ended with {code}")


async def test_a_song_takes_the_whole_road_with_each_service_confined_to_its_subjects(
    port: int, tmp_path: Path
) -> None:
    http_port = free_port()
    logs = {name: tmp_path / f"{name}.log" for name in SERVICES}
    async with AsyncExitStack() as stack:
        for name in SERVICES:
            service = Supervised(
                name=name,
                command=[sys.executable, "-m", f"services.{name}"],
                environment={
                    **os.environ,
                    "STEMBUS_NATS_URL": _url(name, port),
                    "STEMBUS_BLOBS_URL": f"file://{tmp_path / 'blobs'}",
                    "STEMBUS_SCRATCH_DIR": str(tmp_path / name),
                    "STEMBUS_HTTP_PORT": str(http_port),
                },
                log=logs[name],
                on_death=_died,
            )
            await service.start()
            stack.push_async_callback(service.stop, 10)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(session, f"http://127.0.0.1:{http_port}")
        async with asyncio.timeout(60):
            while not await client.healthy():  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.05)
            upload = await client.upload(ROOT / "docs" / "clip.mp3")
            job_id = await client.submit({"upload": upload}, Options(model="dsp"))
            async for _ in client.events(job_id):
                pass
        assert (await client.job(job_id)).status is Status.COMPLETED
    said = "".join(log.read_text() for log in logs.values())
    assert "Permissions Violation" not in said
    assert "permissions violation" not in said


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        *((user, "$KV.jobs.somebody") for user in ("gateway", "downloader", "separator")),
        *((user, "work.download.a.source") for user in ("gateway", "downloader", "separator")),
        ("gateway", "inbox.fact.download.a"),
        ("downloader", "inbox.command.cancel.a"),
        ("downloader", "inbox.fact.separate.a"),
        ("separator", "inbox.fact.download.a"),
        ("scheduler", "inbox.command.submit.a"),
        *((user, "$JS.API.CONSUMER.CREATE.WORK.mine") for user in SERVICES),
        *((user, "$JS.API.STREAM.DELETE.WORK") for user in SERVICES),
        ("observer", "anything"),
    ],
)
async def test_nobody_may_say_what_is_not_theirs(port: int, user: str, subject: str) -> None:
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(exc: Exception) -> None:
        await refused.put(str(exc).lower())

    nc = await nats.connect(_url(user, port), error_cb=on_error)
    try:
        await nc.publish(subject, b"{}")
        async with asyncio.timeout(5):
            complaint = await refused.get()
    finally:
        await nc.close()
    assert f'permissions violation for publish to "{subject.lower()}"' in complaint
