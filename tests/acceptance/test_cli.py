"""The command line: what it prints, what it leaves, and what its exit codes mean."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from tests.acceptance.api import PATIENCE, separating
from tests.acceptance.gate import gated
from tests.acceptance.listening import hear
from tests.support import media
from tests.support.audio import song
from tests.support.processes import children_of, ends_within
from tests.support.stack import command_line, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.api import Api, Json
    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


async def started(home: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command_line(*words),
        env=environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def result(process: asyncio.subprocess.Process) -> Said:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


async def stembus(home: Path, *words: str) -> Said:
    """Run ``stembus words…`` to its end."""
    return await result(await started(home, *words))


def record(said: Said) -> Json:
    """The job's record, the last line of standard output."""
    found: Json = msgspec.json.decode(said.out.splitlines()[-1])
    return found


async def newest(api: Api) -> Json:
    jobs: list[Json] = (await api.ask("GET", "/v1/jobs?limit=1")).json["jobs"]
    return jobs[0]


async def test_separate_uses_the_running_stack_and_saves_the_stems(
    stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    path, out = songs.path("song.mp3"), tmp_path / "out"
    said = await stembus(
        tmp_path,
        *("separate", str(path), "--data", str(stack.data), "--out", str(out)),
        *("--model", "dsp", "--stems", "vocals", "--format", "wav", "--json"),
    )
    assert said.code == 0, said.err
    job = record(said)
    assert job["status"] == "completed"
    assert (job["metadata"]["title"], job["options"]["format"]) == ("A song", "wav")
    assert len(said.out.splitlines()) == 1
    assert [file.name for file in out.iterdir()] == ["vocals.wav"]
    assert len(hear(out / "vocals.wav").samples) == len(hear(path).samples)
    assert "model dsp" in said.err
    assert "No stack is running" not in said.err


async def test_separate_starts_a_stack_for_the_while_and_leaves_nothing_running(
    songs: Songs, models_dir: Path, tmp_path: Path
) -> None:
    said = await stembus(
        tmp_path,
        *("separate", songs.url("song.mp3"), "--out", str(tmp_path / "out"), "--model", "tiny"),
        *("--data", str(tmp_path / "data"), "--models", str(models_dir)),
    )
    assert said.code == 0, said.err
    stems = {"drums", "bass", "other", "vocals", "instrumental"}
    assert {path.stem for path in (tmp_path / "out").glob("*.flac")} == stems
    assert "model tiny" in said.err
    assert not (tmp_path / "data" / "stack.json").exists()


async def test_a_failed_job_says_why_and_what_to_do(
    stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    url = f"{songs.site.base}/status/404"
    said = await stembus(tmp_path, "separate", url, "--data", str(stack.data), "--json")
    assert said.code == 1
    assert "nothing at this address" in said.err
    assert "404" in said.err
    assert "Check the address." in said.err
    assert record(said)["error"]["code"] == "source.not_found"


async def test_a_refused_job_says_why_and_what_to_do(
    stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    words = ("separate", songs.url("song.mp3"), "--model", "gpt", "--data", str(stack.data))
    said = await stembus(tmp_path, *words)
    assert said.code == 1
    assert "There is no such model" in said.err
    assert "/v1/models" in said.err


#: Command lines that can't work, their exit code, and a part of what is said.
WRONG = {
    "a file that is not there": (("separate", "nowhere.mp3"), 2, "there is no such file"),
    "no source": (("separate",), 2, "Missing argument"),
    "an unknown format": (("separate", "a", "--format", "exe"), 2, "exe"),
    "no server": (("jobs", "--server", "http://127.0.0.1:9"), 3, "stembus up"),
    "nobody to cancel at": (("cancel", "a", "--server", "http://127.0.0.1:9"), 3, "stembus up"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_command_that_can_not_work_says_so(what: str, tmp_path: Path) -> None:
    words, code, part = WRONG[what]
    said = await stembus(tmp_path, *words)
    assert said.code == code
    assert part in said.err
    assert "Traceback" not in said.err


async def test_a_second_stack_with_the_same_data_is_refused(
    stack: RunningStack, tmp_path: Path
) -> None:
    said = await stembus(tmp_path, "up", "--data", str(stack.data), "--port", "0")
    assert said.code == 3
    assert "is running" in said.err
    assert (stack.data / "stack.json").exists()


async def test_jobs_are_listed_watched_cancelled_and_retried(
    api: Api, stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    here = ("--data", str(stack.data))
    async with gated(songs.path("song.mp3")) as gate:
        job = await api.submit(gate.url)
        await gate.reached()
        watching = await started(tmp_path, "watch", job["id"], *here)
        cancelled = await stembus(tmp_path, "cancel", job["id"], *here)
        assert (cancelled.code, cancelled.out) == (0, f"{job['id']} cancelled\n")
        watched = await result(watching)
        assert watched.code == 4
        assert "cancelled" in watched.out.splitlines()[-1]
    listed = await stembus(tmp_path, "jobs", *here)
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if job["id"] in line]
    assert "cancelled" in line
    again = await stembus(tmp_path, "cancel", "nobody", *here)
    assert again.code == 1
    assert "no such job" in again.err


async def test_retry_takes_a_job_up_again(
    api: Api, stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    job = await api.submit(songs.url("later.mp3"))
    assert (await api.ended(job["id"]))["status"] == "failed"
    media.write_audio(songs.path("later.mp3"), media.song(1))
    retried = await stembus(tmp_path, "retry", job["id"], "--data", str(stack.data))
    assert retried.code == 0, retried.err
    assert (await api.ended(job["id"]))["status"] == "completed"
    watched = await stembus(tmp_path, "watch", job["id"], "--data", str(stack.data))
    assert watched.code == 0


async def test_ctrl_c_calls_the_job_off(
    api: Api, stack: RunningStack, songs: Songs, tmp_path: Path
) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        process = await started(tmp_path, "separate", gate.url, "--data", str(stack.data))
        await gate.reached()
        process.send_signal(signal.SIGINT)
        said = await result(process)
        assert said.code == 130
        assert "Traceback" not in said.err
        assert (await newest(api))["status"] == "cancelled"


async def test_ctrl_c_stops_a_stack_that_was_started_for_the_while(
    songs: Songs, tmp_path: Path
) -> None:
    async with gated(songs.path("song.mp3")) as gate:
        words = ("separate", gate.url, "--data", str(tmp_path / "data"))
        process = await started(tmp_path, *words)
        await gate.reached()
        services = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        said = await result(process)
    assert said.code == 130
    assert len(services) == 5
    assert all(ends_within(pid, 0.0) for pid in services)


async def test_a_cancelled_job_is_an_exit_code_of_its_own(
    api: Api, stack: RunningStack, tmp_path: Path
) -> None:
    path = media.write_audio(tmp_path / "long.mp3", song(40).mix.T)
    words = ("separate", str(path), "--model", "tiny", "--data", str(stack.data), "--json")
    await api.offered("tiny")
    known = {job["id"] for job in (await api.ask("GET", "/v1/jobs?limit=200")).json["jobs"]}
    process = await started(tmp_path, *words)
    job_id = ""
    async with asyncio.timeout(PATIENCE), aclosing(api.events()) as events:
        async for event in events:
            if event.kind == "job" and event.data["id"] not in known:
                job_id = str(event.data["id"])
                break
    await api.until(job_id, separating)
    await api.order(job_id, "cancel")
    said = await result(process)
    assert said.code == 4
    assert record(said)["status"] == "cancelled"
