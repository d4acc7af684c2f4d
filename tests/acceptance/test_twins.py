"""One song that comes by several roads at the same time is separated once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.gate import gated
from tests.support import media
from tests.support.overhearing import overhearing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.api import Api, Json
    from tests.support.stack import RunningStack

#: By which address each comes (none: as a file), and what it asks for: the same, in the end.
ROADS: Final = {
    "two addresses": [("first", "tiny"), ("second", "tiny")],
    "a file, two addresses": [("", "tiny"), ("first", "tiny"), ("second", "tiny")],
    "two names of a model": [("first", "auto"), ("first", "dsp")],
}


@pytest.mark.parametrize("how", ROADS)
async def test_one_song_by_several_roads_at_once_is_separated_once(
    how: str, api: Api, stack: RunningStack, tmp_path: Path
) -> None:
    roads = ROADS[how]
    # A song that no other test has; its tags say what it is called, whoever brings it.
    samples = media.song(9 + len(how) / 10)
    song = media.write_audio(tmp_path / "own.flac", samples, tags={"title": "Own"})
    async with overhearing(stack.nats_url) as heard, AsyncExitStack() as sites:
        gates = {name: await sites.enter_async_context(gated(song)) for name, _ in roads if name}
        jobs: list[Json] = []
        for name, model in roads:
            source = gates[name].url if name else song
            jobs.append(await api.submit(source, model=model, reuse=True))
        for gate in gates.values():
            await gate.reached()
        for gate in gates.values():
            gate.open.set()
        ended = [await api.ended(job["id"]) for job in jobs]
        await heard.flush()
    assert [job["status"] for job in ended] == ["completed"] * len(roads)
    computed = [job["id"] for job in ended if heard.orders(job["id"])]
    assert len(computed) == 1, ended
    (stems,) = {tuple(stem["name"] for stem in job["stems"]) for job in ended}
    for name in stems:
        assert len({await api.stem(job, name) for job in ended}) == 1
    others = [str(job["timeline"]) for job in ended if job["id"] not in computed]
    assert all("follows " in told or "the result is " in told for told in others)
