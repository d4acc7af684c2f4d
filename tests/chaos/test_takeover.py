"""Two schedulers: one acts, one stands by; whatever happens to the first, the second goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from services.cli.stack import WORK_GRACE
from shared.jetstream.lease import RENEW_SECONDS
from tests.acceptance.api import endings, separating
from tests.chaos.schedulers import NAMES, leader, leads, log_bytes, said_since
from tests.support.processes import ends_within
from tests.support.stack import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.api import Api, Json
    from tests.chaos.observer import Observer
    from tests.support.stack import RunningStack

# A new owner answers within the gateway's patience, or a submission is told "not yet".
pytestmark = pytest.mark.promise

#: Seconds, by promise, until a standby acts: after a death, and after an orderly stop.
AFTER_DEATH = 10.0
AFTER_STOP = 2.0
#: How often that is tried: a standby looks every now and then, and chance decides when.
TURNS = 3


def other(name: str) -> str:
    (found,) = set(NAMES) - {name}
    return found


async def started(api: Api, long_song: Path, short_song: Path) -> list[Json]:
    """Jobs of which one is in its middle."""
    long = await api.submit(long_song)
    await api.until(long["id"], separating)
    return [long, *[await api.submit(short_song) for _ in range(2)]]


async def assert_all_complete_once(api: Api, jobs: list[Json]) -> None:
    for job in await asyncio.gather(*(api.ended(job["id"]) for job in jobs)):
        assert job["status"] == "completed", job["error"]
        assert endings(job) == ["completed"]


async def both_run(stack: RunningStack) -> None:
    await eventually(lambda: stack.members().keys() >= set(NAMES), "both schedulers run")


async def test_one_acts_and_the_other_stands_by(api: Api, stack: RunningStack) -> None:
    first = await leader(stack, api.session)
    assert not await leads(stack, api.session, other(first))


@pytest.mark.parametrize(
    ("how", "promised"), [(signal.SIGKILL, AFTER_DEATH), (signal.SIGTERM, AFTER_STOP)]
)
async def test_another_takes_over_in_time_and_nothing_is_lost(
    how: signal.Signals,
    promised: float,
    api: Api,
    stack: RunningStack,
    long_song: Path,
    short_song: Path,
) -> None:
    jobs: list[Json] = []
    took: list[float] = []
    for _ in range(TURNS):
        await both_run(stack)
        first = await leader(stack, api.session)
        jobs += await started(api, long_song, short_song)
        pid = stack.members()[first]
        os.kill(pid, how)
        began = monotonic()
        await leader(stack, api.session, pid)  # the standby, or the first one born again
        took.append(monotonic() - began)
    # The middle one: another program's load may slow down one of them.
    assert sorted(took)[TURNS // 2] <= promised
    await assert_all_complete_once(api, jobs)


async def test_who_is_told_to_stop_while_frozen_leaves_as_soon_as_it_wakes_up(
    api: Api, stack: RunningStack
) -> None:
    for _ in range(TURNS):
        await both_run(stack)
        pid = stack.members()[await leader(stack, api.session)]
        os.kill(pid, signal.SIGSTOP)
        # Its lease is due to be renewed the moment it wakes up: the broker's answer and the stop
        # come together.
        await asyncio.sleep(RENEW_SECONDS)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert await asyncio.to_thread(ends_within, pid, WORK_GRACE)


async def test_a_scheduler_that_was_frozen_writes_nothing_when_it_wakes_up_deposed(
    api: Api, stack: RunningStack, observer: Observer, long_song: Path, short_song: Path
) -> None:
    await both_run(stack)
    first = await leader(stack, api.session)
    jobs = await started(api, long_song, short_song)
    frozen = stack.members()[first]
    os.kill(frozen, signal.SIGSTOP)
    try:
        said = log_bytes(stack, first)
        # What it had sent before may still be confirmed to it; it is there by now.
        await observer.flush()
        written = max(observer.revisions)
        assert await leader(stack, api.session, frozen) == other(first)
        jobs.append(await api.submit(short_song))
    finally:
        os.kill(frozen, signal.SIGCONT)
    jobs.append(await api.submit(short_song))
    await assert_all_complete_once(api, jobs)
    lines = said_since(stack, first, said)
    assert [line for line in lines if line.event == "decided" and line.revision > written] == []
    assert await leader(stack, api.session) == other(first)
    assert observer.revisions == sorted(set(observer.revisions))
