"""SIGTERM ends every service with 0, with the broker there, dead, or never there at all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import Broker

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = ("gateway", "scheduler", "downloader", "separator")


async def started(name: str, folder: Path, **settings: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"services.{name}",
        env={
            **os.environ,
            "STEMBUS_BLOBS_URL": f"file://{folder / 'blobs'}",
            "STEMBUS_SCRATCH_DIR": str(folder / name),
            "STEMBUS_HTTP_PORT": "0",
            "STEMBUS_GRACE_SECONDS": "2",
            **settings,
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def line_with(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait for a log line that has ``text`` in it."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while text.encode() not in (line := await process.stderr.readline()):
            assert line, f"it ended without {text!r}"


async def terminated(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        await process.communicate()
    return process.returncode if process.returncode is not None else -1


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_leaves_in_order_with_the_broker_killed(name: str, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    await asyncio.to_thread(broker.start)
    process = await started(name, tmp_path, STEMBUS_NATS_URL=broker.url)
    await line_with(process, '"started"')
    await asyncio.to_thread(broker.kill)
    await line_with(process, "broker is away")
    assert await terminated(process) == 0


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_that_still_waits_for_the_broker_says_so_and_leaves(
    name: str, tmp_path: Path
) -> None:
    process = await started(name, tmp_path, STEMBUS_NATS_URL="nats://127.0.0.1:9")
    await line_with(process, "waiting for the broker")
    assert await terminated(process) == 0


@pytest.mark.parametrize("name", SERVICES)
async def test_a_bad_setting_ends_a_service_with_2_and_its_name(name: str, tmp_path: Path) -> None:
    process = await started(name, tmp_path, STEMBUS_LOG_LEVEL="loud")
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"STEMBUS_LOG_LEVEL='loud'" in said
