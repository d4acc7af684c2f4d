"""What a mailbox promises, held by each there is: the one for tests and the broker's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import ACK_WAIT

if TYPE_CHECKING:
    from shared.actor.mailbox import Delivery
    from tests.contract.conftest import Post

#: Longer than any redelivery takes; nobody waits so long unless something is wrong.
PATIENCE = 10.0
#: A fetch that is meant to find nothing.
BRIEF = 0.2


async def one(post: Post) -> Delivery:
    (delivery,) = await post.mailbox.fetch(1, PATIENCE)
    return delivery


async def emptied(post: Post) -> None:
    """Wait until nothing is left: an acknowledgement is not answered."""
    async with asyncio.timeout(PATIENCE):
        while await post.stored():
            pass


async def test_what_was_put_is_fetched_as_it_was(post: Post) -> None:
    await post.put("source", b"hello", {"traceparent": "x"})
    found = await one(post)
    assert (
        found.subject,
        found.body,
        found.deliveries,
    ) == ("work.download.j1.source", b"hello", 1)
    assert found.headers["traceparent"] == "x"
    await found.ack()


async def test_a_message_without_headers_has_none(post: Post) -> None:
    await post.put("source", b"")
    found = await one(post)
    assert dict(found.headers) == {}
    await found.ack()


async def test_an_empty_mailbox_gives_nothing_within_the_time(post: Post) -> None:
    assert list(await post.mailbox.fetch(4, BRIEF)) == []


@pytest.mark.parametrize("ack_wait", [30.0])
async def test_a_fetch_takes_messages_in_order_and_no_more_than_asked(post: Post) -> None:
    for number in range(5):
        await post.put(str(number), b"%d" % number)
    first = await post.mailbox.fetch(3, PATIENCE)
    second = await post.mailbox.fetch(3, PATIENCE)
    assert [[found.body for found in batch] for batch in (first, second)] == [
        [b"0", b"1", b"2"],
        [b"3", b"4"],
    ]
    for found in (*first, *second):
        await found.ack()


async def test_a_fetch_returns_as_soon_as_there_is_something(post: Post) -> None:
    waiting = asyncio.create_task(one(post))
    await post.put("source", b"now")
    found = await waiting
    assert found.body == b"now"
    await found.ack()


async def test_what_is_acknowledged_is_gone(post: Post) -> None:
    await post.put("source", b"")
    await (await one(post)).ack()
    assert list(await post.mailbox.fetch(1, ACK_WAIT * 1.5)) == []
    await emptied(post)


async def test_what_is_discarded_is_gone(post: Post) -> None:
    await post.put("source", b"")
    await (await one(post)).discard()
    assert list(await post.mailbox.fetch(1, ACK_WAIT * 1.5)) == []
    await emptied(post)


async def test_what_is_handed_back_comes_again_at_once_and_is_counted(post: Post) -> None:
    await post.put("source", b"again")
    counts = []
    for _ in range(3):
        found = await one(post)
        counts.append(found.deliveries)
        await found.nak()
    last = await one(post)
    assert (counts, last.deliveries, last.body) == ([1, 2, 3], 4, b"again")
    await last.ack()


async def test_what_is_handed_back_with_a_delay_does_not_come_before(post: Post) -> None:
    await post.put("source", b"")
    loop = asyncio.get_running_loop()
    found = await one(post)
    started = loop.time()
    await found.nak(ACK_WAIT / 2)
    again = await one(post)
    assert loop.time() - started >= ACK_WAIT / 2
    assert again.deliveries == 2
    await again.ack()


async def test_what_nobody_settles_comes_again(post: Post) -> None:
    await post.put("source", b"lost")
    await one(post)
    again = await one(post)
    assert (again.body, again.deliveries) == (b"lost", 2)
    await again.ack()


@pytest.mark.parametrize("ack_wait", [2.0])
async def test_what_is_in_progress_is_not_handed_out_again(post: Post, ack_wait: float) -> None:
    await post.put("source", b"")
    found = await one(post)
    for _ in range(20):
        assert list(await post.mailbox.fetch(1, ack_wait / 10)) == []
        await found.in_progress()
    await found.ack()
    await emptied(post)


async def test_a_stale_taker_s_ack_counts(post: Post) -> None:
    """Acks don't fence: attempts do."""
    await post.put("source", b"")
    stale = await one(post)
    again = await one(post)
    assert again.deliveries == 2
    await stale.ack()
    assert list(await post.mailbox.fetch(1, ACK_WAIT * 1.5)) == []
    await emptied(post)


async def test_a_fetch_ends_when_its_mailbox_is_closed(post: Post) -> None:
    for limit in (1, 4):
        mailbox = await post.another()
        waiting = asyncio.create_task(mailbox.fetch(limit, PATIENCE))
        await asyncio.sleep(BRIEF)  # until it waits: nothing else tells
        began = asyncio.get_running_loop().time()
        await mailbox.close()
        assert list(await waiting) == []
        assert asyncio.get_running_loop().time() - began < PATIENCE / 2


async def test_a_closed_mailbox_gives_nothing_and_can_be_closed_again(post: Post) -> None:
    mailbox = await post.another()
    await mailbox.close()
    await mailbox.close()
    await post.put("source", b"for others")
    assert list(await mailbox.fetch(1, PATIENCE)) == []
    found = await one(post)
    assert (found.body, found.deliveries) == (b"for others", 1)
    await found.ack()


@pytest.mark.parametrize("ack_wait", [30.0])
async def test_what_comes_while_a_mailbox_is_closed_is_there_for_others_at_once(
    post: Post, ack_wait: float
) -> None:
    """With every delay between the two: it is handed out, or handed back, or never sent."""
    for delay in range(30):
        mailbox = await post.another()
        waiting = asyncio.create_task(mailbox.fetch(1 + delay % 2, PATIENCE))
        await asyncio.sleep(BRIEF / 20)
        putting = asyncio.create_task(post.put(f"{delay}", b"%d" % delay))
        for _ in range(delay):
            await asyncio.sleep(0)
        await mailbox.close()
        await putting
        taken = await waiting
        if not taken:
            began = asyncio.get_running_loop().time()
            taken = await post.mailbox.fetch(4, PATIENCE)
            assert asyncio.get_running_loop().time() - began < ack_wait / 3
        assert [found.body for found in taken] == [b"%d" % delay]
        await taken[0].ack()
    await emptied(post)
