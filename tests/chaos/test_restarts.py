"""SIGTERM to each process under load: it leaves with 0 within its grace, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from services.cli.stack import BROKER_GRACE, SERVICE_GRACE
from tests.acceptance.api import endings, separating
from tests.chaos.plan import MEMBERS
from tests.chaos.verdict import ends
from tests.support.processes import ends_within
from tests.support.stack import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.api import Api
    from tests.support.stack import RunningStack


@pytest.mark.parametrize("member", MEMBERS)
async def test_a_restart_under_load_is_orderly_and_loses_nothing(
    member: str, api: Api, stack: RunningStack, long_song: Path, short_song: Path
) -> None:
    long = await api.submit(long_song)
    short = [await api.submit(short_song) for _ in range(2)]
    await api.until(long["id"], separating)
    before = ends(stack.said)
    pid = stack.members()[member]
    os.kill(pid, signal.SIGTERM)
    grace = BROKER_GRACE if member == "broker" else SERVICE_GRACE
    assert await asyncio.to_thread(ends_within, pid, grace)
    await eventually(lambda: len(ends(stack.said)) > len(before), "its end is noticed")
    assert ends(stack.said)[len(before) :] == [(member, "exited 0")]
    await eventually(lambda: stack.members().get(member, pid) != pid, f"{member} runs again")
    for job in await asyncio.gather(*(api.ended(job["id"]) for job in (long, *short))):
        assert job["status"] == "completed", job["error"]
        assert endings(job) == ["completed"]
        assert not [moment for moment in job["timeline"] if "again" in moment["note"]]
