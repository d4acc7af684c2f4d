"""Several requests in one child: side by side, and what happens to one because of another."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from shared.child_main import REQUESTS_WAITING
from shared.child_reports import FRAMES_WAITING
from shared.child_wire import FRAME_BYTES, HEADER, REQUEST
from shared.errors import RetryableError
from tests.support.children.asking import (
    PATIENCE,
    Starter,
    ask,
    begun,
    crash_of,
    failure,
    rest,
    under_way,
)
from tests.support.children.obedient import Do, Said

if TYPE_CHECKING:
    from pathlib import Path

    from shared.child import Child


async def talk(child: Child[Do, Said]) -> None:
    """Ask it without an end."""
    while True:
        await ask(child, "echo", "a", 1)


async def test_two_requests_go_on_side_by_side_and_each_hears_its_own(
    start: Starter, tmp_path: Path
) -> None:
    child = await start(lanes=2)
    first = await begun(child, Do("gate", "one"))
    second = await begun(child, Do("gate", "two"))
    (tmp_path / "two").touch()
    assert await rest(second) == ["through two"]
    # The second's lane is free again, the first still stands at its gate.
    assert await ask(child, "echo", "a", 2) == ["a0", "a1"]
    (tmp_path / "one").touch()
    assert await rest(first) == ["through one"]


async def test_one_lane_takes_requests_in_order(start: Starter, tmp_path: Path) -> None:
    child = await start()
    first = await begun(child, Do("gate", "one"))
    waiting = [asyncio.create_task(ask(child, "echo", str(turn), 1)) for turn in range(3)]
    await under_way(child, 4)
    (tmp_path / "one").touch()
    assert await rest(first) == ["through one"]
    assert await asyncio.gather(*waiting) == [["00"], ["10"], ["20"]]


@pytest.mark.parametrize("lanes", [1, 2])
async def test_without_a_loop_of_its_own_the_main_thread_is_a_lane(
    start: Starter, lanes: int
) -> None:
    child = await start(lanes=lanes)
    # Each names its thread and stays in it: all of them are taken.
    taken = [child.ask(Do("thread"), silence=PATIENCE) for _ in range(lanes)]
    names = {(await anext(reports)).text for reports in taken}
    assert len(names) == lanes
    assert "MainThread" in names


async def test_large_reports_from_several_lanes_come_whole(start: Starter) -> None:
    child = await start(lanes=4)
    texts = [letter * (FRAME_BYTES // 4) for letter in "abcd"]
    heard = await asyncio.gather(*(ask(child, "echo", text, 20) for text in texts))
    assert heard == [[f"{text}{turn}" for turn in range(20)] for text in texts]


async def test_a_death_reaches_every_request(start: Starter) -> None:
    child = await start(lanes=3)
    others = [await begun(child, Do("silent")) for _ in range(2)]
    said = "worker.crashed: killed by SIGKILL"
    assert await failure(child, "signal", "", signal.SIGKILL) == said
    assert [await crash_of(other) for other in others] == [said, said]


async def test_an_end_from_outside_reaches_every_request(start: Starter) -> None:
    child = await start(lanes=2)
    others = [await begun(child, Do("silent")) for _ in range(2)]
    crashes = [asyncio.create_task(crash_of(other)) for other in others]
    await child.kill()
    assert await asyncio.gather(*crashes) == ["worker.crashed: killed by SIGKILL"] * 2


async def test_what_came_before_the_death_is_heard_before_it(start: Starter) -> None:
    child = await start(lanes=2)
    other = child.ask(Do("silent"), silence=PATIENCE)
    await anext(other)
    slow = await begun(child, Do("echo", "b", FRAMES_WAITING // 2))
    await failure(child, "exit", "", 3)
    assert len(await rest(slow)) == FRAMES_WAITING // 2 - 1
    assert await crash_of(other) == "worker.crashed: exit status 3"


async def test_the_silence_of_one_ends_all(start: Starter) -> None:
    child = await start(lanes=2, patience=PATIENCE)
    other = await begun(child, Do("silent"))
    crash = asyncio.create_task(crash_of(other))
    said = await failure(child, "silent", silence=0.2)
    assert said == "worker.timed_out: it said nothing for 0 s"
    assert await crash == "worker.crashed: killed: it said nothing for 0 s on another request"
    assert not child.alive


async def test_the_reports_of_one_are_no_life_sign_of_another(start: Starter) -> None:
    child = await start(lanes=2)
    silent = asyncio.create_task(failure(child, "silent", silence=0.3))
    with pytest.raises(RetryableError, match=r"worker\.crashed"):
        await talk(child)
    assert (await silent).startswith("worker.timed_out")


@pytest.mark.parametrize(
    ("lie", "fault"),
    [
        ("long", f"a frame of {FRAME_BYTES + 1} bytes; {FRAME_BYTES} are allowed"),
        ("long for nobody", f"a frame of {FRAME_BYTES + 1} bytes; {FRAME_BYTES} are allowed"),
        ("unknown", "a frame of the unknown kind b'X'"),
        ("garbled", "a message that can't be read: "),
        ("garbled problem", "a message that can't be read: "),
    ],
)
async def test_a_child_that_breaks_the_protocol_is_killed(
    start: Starter, lie: str, fault: str
) -> None:
    child = await start(module="liar", patience=PATIENCE)
    assert (await failure(child, lie)).startswith(f"worker.crashed: {fault}")
    assert not child.alive


async def test_frames_that_nobody_asked_for_are_dropped(start: Starter) -> None:
    child = await start(module="liar")
    assert await ask(child, "for nobody") == []
    assert child.alive


async def test_a_child_leaves_a_parent_that_breaks_the_protocol(
    start: Starter, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.child.LAST_LINES_SECONDS", 20.0)
    child = await start()
    silent = await begun(child, Do("silent"))
    stdin = child._process.stdin
    assert stdin is not None
    stdin.write(HEADER.pack(REQUEST, 7, FRAME_BYTES + 1))
    assert await crash_of(silent) == "worker.crashed: exit status 1"
    assert f"a frame of {FRAME_BYTES + 1} bytes" in lines[-1]


async def test_a_message_that_is_too_long_is_not_sent_and_costs_nobody_else(
    start: Starter,
) -> None:
    child = await start()
    too_long = "x" * FRAME_BYTES
    assert (await failure(child, "echo", too_long, 1)).startswith("worker.crashed: a request of ")
    doubled = '"' * (FRAME_BYTES // 2 - 64)
    assert await ask(child, "echo", doubled, 1) == [f"{doubled}0"]
    assert (await failure(child, "twice", "x" * (FRAME_BYTES // 2))).startswith(
        "worker.crashed: FrameError: a message of "
    )
    assert await ask(child, "echo", "a", 1) == ["a0"]


async def test_a_request_that_cannot_be_read_fails_alone(start: Starter) -> None:
    child = await start()
    nonsense: Any = Said("what is that?")
    with pytest.raises(RetryableError, match=r"worker\.crashed: ValidationError"):
        await rest(child.ask(nonsense, silence=PATIENCE))
    assert await ask(child, "echo", "a", 1) == ["a0"]


async def test_more_requests_than_may_wait_are_refused(start: Starter, tmp_path: Path) -> None:
    child = await start()
    first = await begun(child, Do("gate", "one"))
    waiting = [
        asyncio.create_task(ask(child, "echo", str(turn), 1)) for turn in range(REQUESTS_WAITING)
    ]
    await under_way(child, 1 + REQUESTS_WAITING)
    refused = await failure(child, "touch", "started")
    assert refused == f"worker.crashed: {REQUESTS_WAITING} requests wait in it already"
    (tmp_path / "one").touch()
    assert await rest(first) == ["through one"]
    assert await asyncio.gather(*waiting) == [[f"{turn}0"] for turn in range(REQUESTS_WAITING)]
    assert not (tmp_path / "started").exists()


async def test_reports_that_nobody_takes_hold_the_child_up_until_they_are_left(
    start: Starter, tmp_path: Path
) -> None:
    child = await start(lanes=2, patience=PATIENCE)
    # More than the pipe and the stream's buffer take.
    slow = await begun(child, Do("echo", "x" * (FRAME_BYTES // 8), 10 * FRAMES_WAITING))
    (asked,) = child._reports._asked.values()
    stream = child._reports._stream
    while asked.waiting < FRAMES_WAITING or not stream._paused:  # type: ignore[attr-defined]  # noqa: ASYNC110 - a fact of asyncio's own
        await asyncio.sleep(0)
    other = asyncio.create_task(ask(child, "touch", "done"))
    while not (tmp_path / "done").exists():  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0)
    # The other has done it and can't say so.
    assert asked.waiting == FRAMES_WAITING
    assert not other.done()
    await slow.aclose()
    assert await other == ["touched"]
    assert child.alive


async def test_the_main_thread_may_compute_for_all_lanes(start: Starter) -> None:
    child = await start(module="looping")
    both = await asyncio.gather(*(ask(child, "both", text) for text in "ab"))
    assert both == [["a+b in MainThread"]] * 2


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("raise", 1)])
async def test_the_end_of_the_main_thread_is_the_childs(
    start: Starter, lines: list[str], how: str, status: int
) -> None:
    child = await start(module="looping")
    assert await failure(child, how, "nose") == f"worker.crashed: exit status {status}"
    assert ("KeyError: 'nose'" in lines) == (how == "raise")
