"""A child process: what it says, how it fails, how it ends; with real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from shared.child import ROOT, Child, Limits
from shared.child_wire import FRAME_BYTES
from shared.contracts.codec import Decoder
from shared.errors import Code, RetryableError, TerminalError
from tests.support.children.asking import PATIENCE, Starter, ask, failure
from tests.support.children.obedient import Do, Said
from tests.support.processes import children_of, ends_within
from tests.support.stack import eventually


async def test_reports_come_in_order_and_the_next_request_finds_it_alive(start: Starter) -> None:
    child = await start()
    assert await ask(child, "echo", "a", 3) == ["a0", "a1", "a2"]
    assert await ask(child, "echo", "b", 0) == []
    assert await ask(child, "echo", "c", 1) == ["c0"]
    assert child.alive


async def test_many_and_large_reports_come_whole(start: Starter) -> None:
    child = await start()
    text = "ä" * (FRAME_BYTES // 4)
    assert [f"{text}{turn}" for turn in range(5)] == await ask(child, "echo", text, 5)
    assert len(await ask(child, "echo", "x", 2000)) == 2000


async def test_what_it_prints_are_lines_for_the_log_and_garble_nothing(
    start: Starter, lines: list[str]
) -> None:
    child = await start()
    long = "x" * 10_000
    assert await ask(child, "print", f"hello\n{long}\nbye") == ["printed"]
    await child.kill()
    assert (lines[0], lines[-1]) == ("hello", "and on standard error")
    assert "bye" in lines
    assert all(len(line) <= 4096 for line in lines)


async def test_it_works_in_the_folder_it_was_given(start: Starter, tmp_path: Path) -> None:
    assert [str(tmp_path)] == await ask(await start(), "folder")


@pytest.mark.parametrize("secret", ["AWS_SECRET_ACCESS_KEY", "STEMBUS_NATS_URL", "NATS_PASSWORD"])
async def test_it_inherits_no_credentials(
    start: Starter, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv(secret, "s3cret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    names = await ask(await start(environment={"GIVEN": "1"}), "environment")
    assert secret not in names
    assert {"PATH", "LANG", "GIVEN"} <= set(names)
    assert not {"STEMBUS_CHILD_LIMITS", "STEMBUS_CHILD_REPORT_FD"} & set(names)


async def test_others_files_in_its_folder_are_not_its_modules(
    start: Starter, tmp_path: Path
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('fooled')")
    assert await ask(await start(), "echo", "a", 1) == ["a0"]


async def test_a_named_failure_arrives_as_it_was_raised_and_the_child_goes_on(
    start: Starter,
) -> None:
    child = await start()
    with pytest.raises(TerminalError) as terminal:
        await ask(child, "terminal", "broken header")
    with pytest.raises(RetryableError) as retryable:
        await ask(child, "retryable", "slow down", 30)
    assert (terminal.value.code, terminal.value.detail) == (Code.SOURCE_NOT_AUDIO, "broken header")
    assert (
        retryable.value.code,
        retryable.value.detail,
        retryable.value.retry_after,
    ) == (Code.SOURCE_RATE_LIMITED, "slow down", 30.0)
    assert await ask(child, "echo", "a", 1) == ["a0"]


async def test_a_bug_is_a_crash_with_its_traceback_in_the_log(
    start: Starter, lines: list[str]
) -> None:
    child = await start()
    assert await failure(child, "bug", "nose") == "worker.crashed: KeyError: 'nose'"
    assert await ask(child, "echo", "a", 1) == ["a0"]
    await child.kill()
    assert "Traceback (most recent call last):" in lines


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
async def test_a_death_by_a_signal_is_a_crash(start: Starter, number: signal.Signals) -> None:
    child = await start()
    assert f"worker.crashed: killed by {number.name}" == await failure(child, "signal", "", number)
    assert not child.alive


@pytest.mark.parametrize("status", [0, 3])
async def test_leaving_in_the_middle_is_a_crash(start: Starter, status: int) -> None:
    said = await failure(await start(), "exit", "", status)
    assert f"worker.crashed: exit status {status}" == said


async def test_asking_a_dead_child_is_a_crash_too(start: Starter) -> None:
    child = await start()
    await failure(child, "exit", "", 3)
    assert await failure(child, "echo", "a", 1) == "worker.crashed: exit status 3"


async def test_a_child_that_does_not_start_is_a_crash(
    tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.child.LAST_LINES_SECONDS", 20.0)
    child: Child[Do, Said] = await Child.start(
        "tests.support.children.nowhere",
        reports=Decoder(Said),
        cwd=tmp_path,
        on_line=lines.append,
    )
    assert await failure(child, "echo") == "worker.crashed: exit status 1"
    assert "nowhere" in lines[-1]


def held() -> int:
    """Files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_is_left_of_a_start_that_is_called_off_at_any_step(tmp_path: Path) -> None:
    before, files = children_of(os.getpid()), held()
    turns, called_off = 0, True
    while called_off:
        starting = asyncio.create_task(
            Child[Do, Said].start(
                "tests.support.children.obedient",
                reports=Decoder(Said),
                cwd=tmp_path,
                on_line=lambda _: None,
            )
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        called_off = starting.cancelled()
        turns += 1
    await (await starting).kill()
    await eventually(lambda: children_of(os.getpid()) <= before, "its children have gone")
    await eventually(lambda: held() <= files, "its files are closed")
    assert turns > 3


@pytest.mark.parametrize("what", ["silent", "busy"])
async def test_silence_kills(start: Starter, what: str) -> None:
    child = await start()
    await ask(child, "echo", "ready", 1)
    assert await failure(child, what, silence=0.2) == "worker.timed_out: it said nothing for 0 s"
    assert not child.alive


async def test_leaving_the_iteration_early_kills(start: Starter) -> None:
    child = await start()
    async with aclosing(child.ask(Do("silent"), silence=PATIENCE)) as reports:
        async for said in reports:
            assert said.text == "good night"
            break
    assert not child.alive


async def test_a_cancelled_task_kills(start: Starter) -> None:
    child, busy = await start(), asyncio.Event()

    async def listen() -> None:
        async for _ in child.ask(Do("busy"), silence=PATIENCE):
            busy.set()

    listening = asyncio.create_task(listen())
    await asyncio.wait_for(busy.wait(), PATIENCE)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await asyncio.wait_for(child._process.wait(), 5)


async def test_memory_has_a_limit(start: Starter) -> None:
    limit = 256 << 20
    child = await start(limits=Limits(memory_bytes=limit))
    assert [str(limit // 8)] == await ask(child, "allocate", "", limit // 8)
    assert (await failure(child, "allocate", "", 2 * limit)).startswith("worker.out_of_memory")
    assert await ask(child, "echo", "a", 1) == ["a0"]


async def test_files_have_a_limit(start: Starter, tmp_path: Path) -> None:
    child = await start(limits=Limits(file_bytes=10_000))
    assert await ask(child, "write", "", 10_000) == ["written"]
    assert "File too large" in await failure(child, "write", "", 50_000)
    assert (tmp_path / "out.bin").stat().st_size <= 10_000


async def test_what_it_started_ends_with_it(start: Starter) -> None:
    child = await start()
    grandchild = 0
    async with aclosing(child.ask(Do("family", "wait"), silence=PATIENCE)) as reports:
        async for said in reports:
            grandchild = int(said.text)
            break
    assert ends_within(grandchild, 5)


async def test_what_it_started_ends_although_it_has_died_before(start: Starter) -> None:
    child = await start()
    reports = child.ask(Do("family", "die"), silence=PATIENCE)
    grandchild = int((await anext(reports)).text)
    with pytest.raises(RetryableError):
        await asyncio.wait_for(anext(reports), 10)
    assert ends_within(grandchild, 5)


async def die_unseen(child: Child[Do, Said]) -> None:
    """Kill it while nobody asks it for anything."""
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while child.alive:  # noqa: ASYNC110 - its wait() ends only with its output
            await asyncio.sleep(0)


async def test_what_it_started_ends_although_it_has_died_unseen(start: Starter) -> None:
    child = await start()
    (grandchild,) = await ask(child, "family")
    await die_unseen(child)
    await asyncio.wait_for(child.kill(), 10)
    assert ends_within(int(grandchild), 5)


async def test_what_has_left_its_group_is_not_waited_for(start: Starter) -> None:
    child = await start()
    (grandchild,) = await ask(child, "family", "leave")
    try:
        await asyncio.wait_for(child.kill(), 10)
        assert not child.alive
    finally:
        os.kill(int(grandchild), signal.SIGKILL)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.children.parent", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert ends_within(child, 10)


async def test_leaving_its_context_ends_it(start: Starter) -> None:
    async with await start() as child:
        assert child.alive
    assert not child.alive
    await child.kill()
