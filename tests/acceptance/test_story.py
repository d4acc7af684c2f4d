"""``nats sub '>'`` reads like a story: who said what to whom, in order, in JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import nats
import pytest

from shared.jetstream.connection import flushed
from tests.acceptance.api import PATIENCE

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from tests.acceptance.api import Api
    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack

#: The life of a job, as its subjects tell it; what happens in between is left out.
STORY = [
    "inbox.command.submit.JOB",
    "$KV.jobs.JOB pending",
    "live.jobs.JOB pending",
    "$KV.jobs.JOB processing download",
    "work.download.JOB.source",
    "tick.download.JOB",
    "live.progress.JOB",
    "inbox.fact.download.JOB",
    "$KV.jobs.JOB processing separation",
    "work.separate.JOB.prepare",
    "inbox.fact.separate.JOB",
    "work.separate.JOB.0",
    "tick.separate.JOB",
    "inbox.fact.separate.JOB",
    "$KV.jobs.JOB processing finalization",
    "work.finalize.JOB.stems",
    "tick.finalize.JOB",
    "inbox.fact.finalize.JOB",
    "$KV.jobs.JOB completed finalization",
    "live.jobs.JOB completed finalization",
    "work.finalize.JOB.sweep",
]


def told(message: Msg, job_id: str) -> str:
    """A line of the story: the subject, and of a record what it says."""
    line = str(message.subject).replace(job_id, "JOB")
    if line.startswith(("$KV.jobs.", "live.jobs.")):
        record = msgspec.json.decode(message.data)
        line = " ".join(filter(None, (line, record["status"], record.get("phase"))))
    return line


async def test_the_bus_tells_a_job_as_a_story(api: Api, stack: RunningStack, songs: Songs) -> None:
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    bus = await nats.connect(stack.nats_url)
    try:
        await bus.subscribe(">", cb=hear)
        await flushed(bus)
        job = await api.finished(songs.url("song.mp3"))
        await flushed(bus)
    finally:
        await bus.close()
    ours = [
        message
        for message in heard
        # Not what is asked of the broker, nor its deliveries of the same messages.
        if job["id"] in message.subject
        and not message.subject.startswith("$JS.")
        and not message.reply.startswith("$JS.ACK")
    ]
    lines = [told(message, job["id"]) for message in ours]
    position = 0
    for line in STORY[:-1]:
        assert line in lines[position:], f"{line} is missing after line {position} of {lines}"
        position = lines.index(line, position) + 1
    for message in ours:
        assert isinstance(msgspec.json.decode(message.data), dict), message.subject
    sizes = [len(message.data) for message in ours]
    assert max(sizes) < 16 << 10  # audio never travels on the bus


@pytest.mark.parametrize("stream", ["INBOX", "WORK"])
async def test_nothing_is_left_on_the_bus_once_all_jobs_have_ended(
    stream: str, api: Api, stack: RunningStack, songs: Songs
) -> None:
    await api.finished(songs.path("song.mp3"))
    bus = await nats.connect(stack.nats_url)
    try:
        jetstream = bus.jetstream()
        async with asyncio.timeout(PATIENCE):
            while (await jetstream.stream_info(stream)).state.messages:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.05)
    finally:
        await bus.close()
