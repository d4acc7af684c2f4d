"""Stopping ``stembus up``, kindly or not: nothing is left running, and nothing is lost."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.acceptance.api import Api, endings, separating
from tests.support import media
from tests.support.audio import song
from tests.support.processes import ends_within
from tests.support.stack import STOP_SECONDS, running_stack

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"STEMBUS_WINDOWS_PER_CHUNK": "1"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_stack_that_is_stopped_in_the_middle_goes_on_at_the_next_start(
    how: signal.Signals, tmp_path: Path
) -> None:
    path = media.write_audio(tmp_path / "song.flac", song(50).mix.T)
    data = tmp_path / "data"
    async with aiohttp.ClientSession() as session:
        with running_stack(data, settings=SETTINGS) as stack:
            job = await Api(session, stack.url).submit(path)
            await Api(session, stack.url).until(job["id"], separating)
            family = stack.family()
            assert len(family) >= 7  # up, broker, four services, an engine
            stack.process.send_signal(how)
            code = stack.process.wait(STOP_SECONDS)
            assert code == (-signal.SIGKILL if how is signal.SIGKILL else 0)
            grace = STOP_SECONDS if how is signal.SIGKILL else 0.0
            assert [pid for pid in family if not ends_within(pid, grace)] == []
        if how is signal.SIGKILL:
            return  # the broker had no time to hear what was handed back: that takes 30 s more
        with running_stack(data, settings=SETTINGS) as stack:
            ended = await Api(session, stack.url).ended(job["id"])
            assert ended["status"] == "completed", ended["error"]
            assert endings(ended) == ["completed"]
            assert not [moment for moment in ended["timeline"] if "again" in moment["note"]]
