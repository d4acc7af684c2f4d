"""Live events: state that changed after what a client knows, then what happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.acceptance.api import PATIENCE

if TYPE_CHECKING:
    from tests.acceptance.api import Api, Event
    from tests.acceptance.conftest import Songs


async def all_job_ids(api: Api) -> list[str]:
    """Every job there is, page by page."""
    ids: list[str] = []
    cursor = ""
    while True:
        page = (await api.ask("GET", "/v1/jobs", params={"limit": "7", "cursor": cursor})).json
        ids += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
        if not cursor:
            return ids


async def first(api: Api, count: int, last: int | None, path: str = "/v1/events") -> list[Event]:
    """The first ``count`` events of a stream."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE), aclosing(api.events(path, last)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_jobs_stream_tells_its_life_in_order_and_ends_with_it(
    api: Api, songs: Songs
) -> None:
    job = await api.submit(songs.url("song.mp3"))
    path = f"/v1/jobs/{job['id']}/events"
    seen = [event async for event in api.events(path)]
    snapshots = [event for event in seen if event.kind == "job"]
    ticks = [event for event in seen if event.kind == "progress"]
    assert len(snapshots) + len(ticks) == len(seen)
    ids = [event.id for event in snapshots if event.id is not None]
    assert len(ids) == len(snapshots)
    assert ids == sorted(set(ids))
    assert ticks
    assert {event.id for event in ticks} == {None}
    progress = [event.data["progress"] for event in seen]
    assert progress == sorted(progress)
    assert [event.status for event in snapshots if event.ended] == ["completed"]
    assert seen[-1].ended
    phases = list(dict.fromkeys(event.data["phase"] for event in snapshots if event.data["phase"]))
    assert phases == ["download", "separation", "finalization"]
    # Who comes back knowing the end is told not to; who knows less gets it again.
    again = await api.ask("GET", path, headers={"Last-Event-ID": str(ids[-1])})
    assert (again.status, again.body) == (204, b"")
    assert [event.id async for event in api.events(path, ids[0])] == [ids[-1]]
    assert [event.id async for event in api.events(path)] == [ids[-1]]


async def test_a_client_that_comes_back_gets_exactly_what_changed(api: Api, songs: Songs) -> None:
    before = await api.finished(songs.path("song.mp3"))
    known = (await api.ask("GET", "/v1/jobs?limit=1")).json["revision"]
    changed = [await api.finished(songs.path("song.mp3")) for _ in range(2)]
    got = await first(api, 2, known)
    assert [event.data for event in got] == changed
    assert before["id"] not in {event.data["id"] for event in got}
    assert all(event.id is not None and event.id > known for event in got)
    # And what happens afterwards, on the same connection.
    async with aclosing(api.events(last=got[-1].id)) as events:
        waiting = asyncio.ensure_future(anext(events))
        job = await api.submit(songs.path("song.mp3"))
        assert (await waiting).data["id"] == job["id"]
    await api.ended(job["id"])


async def test_an_id_from_the_future_gets_every_job_once(api: Api, songs: Songs) -> None:
    await api.finished(songs.path("song.mp3"))
    ids = await all_job_ids(api)
    got = await first(api, len(ids), 10**15)
    assert sorted(event.data["id"] for event in got) == sorted(ids)
    assert len(set(ids)) == len(ids)


async def test_without_an_id_a_stream_begins_with_every_unfinished_job(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    order = {"source": {"url": "http://127.0.0.1:9/a"}, "run_at": later}
    jobs = [(await api.ask("POST", "/v1/jobs", json=order)).json for _ in range(3)]
    assert [job["status"] for job in jobs] == ["scheduled"] * 3
    ids = [job["id"] for job in jobs]
    got = []
    async with asyncio.timeout(PATIENCE), aclosing(api.events()) as events:
        async for event in events:
            got += [event.data["id"]] if event.data.get("id") in ids else []
            if len(got) == len(ids):
                break
    assert got == ids
    for job in jobs:
        assert (await api.order(job["id"], "cancel"))["status"] == "cancelled"


async def test_a_scheduled_job_runs_when_its_time_has_come(api: Api, songs: Songs) -> None:
    upload = await api.upload(songs.path("song.mp3"))
    at = datetime.now(UTC) + timedelta(seconds=5)
    order = {
        "source": {"upload": upload},
        "options": {"model": "dsp", "reuse": False},
        "run_at": at.isoformat(),
    }
    job = (await api.ask("POST", "/v1/jobs", json=order)).json
    assert job["status"] == "scheduled"
    ended = await api.ended(job["id"])
    assert ended["status"] == "completed", ended["error"]
    assert datetime.fromisoformat(ended["started_at"]) >= at


async def test_the_list_shows_the_newest_first_and_by_status(api: Api, songs: Songs) -> None:
    jobs = [await api.finished(songs.path("song.mp3")) for _ in range(2)]
    page = (await api.ask("GET", "/v1/jobs?limit=2&status=completed")).json
    assert [job["id"] for job in page["jobs"]] == [jobs[1]["id"], jobs[0]["id"]]
    assert page["jobs"] == [jobs[1], jobs[0]]
