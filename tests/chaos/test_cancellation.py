"""A cancellation that comes together with the broker's answer is not lost."""

from __future__ import annotations

import asyncio

import pytest

from shared.jetstream.connection import broker_errors


async def wait(answer: asyncio.Future[int]) -> int:
    """As nats-py waits for an answer; before Python 3.12 the answer goes before a cancellation."""
    with broker_errors():
        return await asyncio.wait_for(answer, 10)


async def asked() -> tuple[asyncio.Future[int], asyncio.Task[int]]:
    answer = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait(answer))
    await asyncio.sleep(0)
    return answer, task


async def test_an_answer_comes_through() -> None:
    answer, task = await asked()
    answer.set_result(7)
    assert await task == 7


async def test_who_is_cancelled_in_the_moment_of_the_answer_ends() -> None:
    answer, task = await asked()
    answer.set_result(7)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_in_the_moment_of_a_failure_ends() -> None:
    answer, task = await asked()
    answer.set_exception(TimeoutError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_was_cancelled_before_may_still_say_goodbye() -> None:
    said: list[int] = []

    async def leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            answer = asyncio.get_running_loop().create_future()
            answer.set_result(7)
            said.append(await wait(answer))

    task = asyncio.create_task(leave())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said == [7]
