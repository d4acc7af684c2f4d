"""The command line on a stack where jobs have to wait: the queue, and batches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest

from tests.acceptance.api import Api
from tests.acceptance.gate import gated
from tests.acceptance.test_cli import result, started, stembus
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.acceptance.api import Event, Json
    from tests.acceptance.conftest import Songs
    from tests.acceptance.test_cli import Said
    from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that does one job at a time and lets three wait."""
    data = tmp_path_factory.mktemp("narrow")
    settings = {"STEMBUS_MAX_PROCESSING": "1", "STEMBUS_MAX_WAITING": "3"}
    with running_stack(data, settings=settings) as running:
        yield running


@pytest.fixture
async def api(narrow: RunningStack) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, narrow.url)


class Shell:
    """``stembus`` with that stack."""

    def __init__(self, home: Path, stack: RunningStack) -> None:
        self.home = home
        self.here = ("--data", str(stack.data))

    async def __call__(self, *words: str) -> Said:
        """Run a command that works."""
        said = await stembus(self.home, *words, *self.here)
        assert said.code == 0, said
        return said


@pytest.fixture
def shell(narrow: RunningStack, tmp_path: Path) -> Shell:
    return Shell(tmp_path, narrow)


def records(said: Said) -> list[Json]:
    return [msgspec.json.decode(line) for line in said.out.splitlines()]


def at_place(place: int) -> Callable[[Event], bool]:
    def wanted(event: Event) -> bool:
        return event.kind in {"queue", "job"} and event.data["position"] == place

    return wanted


async def test_waiting_jobs_are_moved_held_and_removed(
    api: Api, shell: Shell, songs: Songs
) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        running = await api.submit(gate.url)
        await gate.reached()
        url = songs.url("song.mp3")
        words = ("submit", url, url, "--model", "dsp", "--owner", "ann", "--priority", "low")
        first, second = (await shell(*words)).out.split()
        await api.until(second, at_place(2))

        assert (await shell("front", second)).out == f"{second} pending\n"
        await api.until(second, at_place(1))
        listed = records(await shell("jobs", "--owner", "ann", "--json"))
        assert {job["id"]: job["position"] for job in listed} == {first: 2, second: 1}

        held = f"{first} pending, held\n{second} pending, held\n"
        assert (await shell("hold", first, second)).out == held
        assert records(await shell("priority", first, "high", "--json"))[0]["priority"] == "high"
        assert (await shell("release", first)).out == f"{first} pending\n"

        await shell("cancel", first, second, running["id"])
        await shell("rm", first, second)
        assert (await api.ask("GET", f"/v1/jobs/{first}")).status == 404


async def test_a_full_queue_is_told_with_an_exit_code_of_its_own(
    api: Api, shell: Shell, songs: Songs
) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        jobs = [await api.submit(gate.url)]
        await gate.reached()
        jobs += [await api.submit(songs.url("song.mp3")) for _ in range(3)]
        refused = await stembus(shell.home, "submit", songs.url("song.mp3"), *shell.here)
        assert refused.code == 5
        assert "Too many jobs are waiting" in refused.err
        assert "Try again in" in refused.err
        # The queue is told once a second or so: what is shown follows.
        while not re.search(r"waiting +3", figures := (await shell("stats")).out):
            continue
        assert re.search(r"separator-\w+ +separate +0 of 1", figures)
        for job in jobs:
            await api.order(job["id"], "cancel")


async def test_a_job_for_later_is_scheduled(shell: Shell, songs: Songs) -> None:
    times = ("--run-at", "in 2h", "--deadline", "in 1 day")
    job = (await shell("submit", songs.url("song.mp3"), "--id", "mine", *times)).out.strip()
    assert job == "mine"
    listed = await shell("jobs", "--status", "scheduled")
    (line,) = [line for line in listed.out.splitlines() if job in line]
    assert "starts in 2 h" in line


async def test_a_batch_is_separated_and_saved_and_says_what_it_skipped(
    shell: Shell, songs: Songs, tmp_path: Path
) -> None:
    listed = tmp_path / "songs.txt"
    listed.write_text(f"{songs.url('song.mp3')}\nftp://example.org/a.mp3\n")
    said = await stembus(
        tmp_path,
        *("batch", str(listed), str(songs.path("song.mp3")), "--out", str(tmp_path / "out")),
        *("--model", "dsp", "--stems", "vocals", "--format", "wav", "--json", *shell.here),
    )
    assert said.code == 1, said.err
    assert "skipped ftp://example.org/a.mp3: Only http and https" in said.err
    batch = records(said)[-1]
    assert (batch["state"], batch["counts"]["completed"]) == ("completed", 2)
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == ["001 A song", "002 A song"]
    assert (tmp_path / "out" / "002 A song" / "vocals.wav").exists()

    assert batch["id"] in (await shell("batches")).out
    shown = (await shell("show", batch["id"])).out
    assert "2 of 2 done, 1 skipped" in shown
    assert shown.count("A song") == 2


async def test_a_batch_that_is_called_off_ends_who_watches_it(shell: Shell, songs: Songs) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        batch = (await shell("batch", gate.url, songs.url("song.mp3"), "--detach")).out.strip()
        await gate.reached()
        watching = await started(shell.home, "watch", batch, "--json", *shell.here)
        await shell("cancel", batch)
        watched = await result(watching)
        assert watched.code == 4, watched
        assert records(watched)[-1]["data"]["counts"]["cancelled"] == 2
