"""How words reach the bus: once, however often they are said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.batch import words_of
from shared.contracts.codec import Decoder, encode
from shared.contracts.commands import Accepted, Answer, CancelJob, Reply
from shared.contracts.snapshot import snapshot
from shared.contracts.subjects import ALL_STOPS, subject_of
from shared.contracts.work import RemoveWork, Stage, StopOrder, SweepWork, Work
from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.topology import INBOX, WORK, streams
from tests.support import batches
from tests.support.jobs import (
    JOB,
    NOW,
    downloaded,
    downloading,
    finalizing,
    pending,
    preparing,
    separating,
    submit,
)

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from shared.jetstream.speaker import JetStreamSpeaker

WORKS: Decoder[Work] = Decoder(Work)


async def waiting(js: JetStreamContext, *subjects: str) -> list[Work]:
    """The work that lies on these subjects."""
    return [WORKS.decode((await js.get_last_msg(WORK, subject)).data) for subject in subjects]


async def count(js: JetStreamContext, stream: str) -> int:
    return int((await js.stream_info(stream)).state.messages)


async def test_an_order_said_twice_is_one_message(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    (first, second) = separating().outbox
    for word in (first, second, first, second):
        await speaker.say(word)
    assert await count(js, WORK) == 2


async def test_an_order_that_was_acknowledged_is_not_ordered_by_saying_it_again(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    (order,) = downloading().outbox
    await speaker.say(order)
    mailbox = await JetStreamMailbox.bind(js, WORK, Stage.DOWNLOAD)
    (delivery,) = await mailbox.fetch(1, 5)
    await delivery.ack()
    await speaker.say(order)
    assert await count(js, WORK) == 0


async def test_a_higher_attempt_takes_the_place_of_a_lower_one(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    order = separating().outbox[0]
    assert isinstance(order, Work)
    later = replace(order, attempt=2)
    await speaker.say(order)
    async with asyncio.timeout(5):
        await speaker.say(later)
    assert ([later], 1) == (await waiting(js, subject_of(order)), await count(js, WORK))


async def test_a_higher_attempt_takes_the_place_of_one_that_a_worker_holds(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    (order,) = downloading().outbox
    assert isinstance(order, Work)
    mailbox = await JetStreamMailbox.bind(js, WORK, Stage.DOWNLOAD)
    await speaker.say(order)
    (held,) = await mailbox.fetch(1, 5)
    async with asyncio.timeout(5):
        await speaker.say(replace(order, attempt=2))
    await held.ack()
    (again,) = await mailbox.fetch(1, 5)
    assert WORKS.decode(again.body).attempt == 2


async def test_a_lower_attempt_never_takes_the_place_of_a_higher_one(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    order = separating().outbox[0]
    assert isinstance(order, Work)
    later = replace(order, attempt=2)
    async with asyncio.timeout(5):
        for word in (later, order):
            await speaker.say(word)
    assert [later] == await waiting(js, subject_of(order))


async def test_a_stop_order_removes_what_waits_and_tells_who_works(
    nc: Client, js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    heard = await nc.subscribe(ALL_STOPS)
    other = replace(separating().outbox[0], job_id="j2")
    orders = [
        *downloading().outbox,
        *preparing().outbox,
        *separating().outbox,
        *finalizing().outbox,
    ]
    for word in (*orders, other):
        await speaker.say(word)
    stop = StopOrder(job_id=JOB)
    await speaker.say(stop)
    assert ([other], 1) == (await waiting(js, subject_of(other)), await count(js, WORK))
    message = await heard.next_msg(timeout=5)
    assert (subject_of(stop), encode(stop)) == (message.subject, message.data)


async def test_cancelling_twice_still_sweeps(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    """The second stop must not take the sweep away: the broker would drop it as said before."""
    sweep = SweepWork(job_id=JOB, attempt=3)
    for _ in range(2):
        await speaker.say(StopOrder(job_id=JOB))
        await speaker.say(sweep)
    assert await count(js, WORK) == 1
    assert [sweep] == await waiting(js, subject_of(sweep))


async def test_a_stop_takes_nothing_away_that_a_removal_has_brought(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    remove = RemoveWork(job_id=JOB, attempt=3, before=NOW)
    await speaker.say(remove)
    await speaker.say(StopOrder(job_id=JOB))
    assert [remove] == await waiting(js, subject_of(remove))


async def test_a_batch_that_is_called_off_has_its_playlist_read_by_nobody(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    (order,) = words_of(batches.expanding())
    await speaker.say(order)
    await speaker.say(StopOrder(job_id=batches.BATCH))
    assert await count(js, WORK) == 0


async def test_a_fact_said_twice_is_one_message(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    for fact in (downloaded(1), downloaded(1), downloaded(2)):
        await speaker.say(fact)
    assert await count(js, INBOX) == 2


async def test_a_command_asked_twice_is_one_message_and_two_clients_are_two(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    cancel = CancelJob(job_id=JOB, reply_to="a")
    for command in (submit(), submit(), cancel, cancel, replace(cancel, reply_to="b")):
        await speaker.ask(command)
    assert await count(js, INBOX) == 3


async def test_a_reply_goes_to_who_waits_for_it(nc: Client, speaker: JetStreamSpeaker) -> None:
    answers: Decoder[Answer] = Decoder(Answer)
    inbox = nc.new_inbox()
    heard = await nc.subscribe(inbox)
    answer = Accepted(job=snapshot(pending()))
    await speaker.say(Reply(to=inbox, answer=answer))
    assert answer == answers.decode((await heard.next_msg(timeout=5)).data)


async def test_a_full_inbox_is_told_to_who_asks(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    await _limit(js, INBOX, 1)
    await speaker.ask(submit("a"))
    with pytest.raises(ConnectionError, match="maximum messages"):
        await speaker.ask(submit("b"))


async def test_a_full_work_queue_is_waited_for(
    js: JetStreamContext, speaker: JetStreamSpeaker
) -> None:
    first, second = separating().outbox
    await _limit(js, WORK, 1)
    await speaker.say(first)
    saying = asyncio.create_task(speaker.say(second))
    mailbox = await JetStreamMailbox.bind(js, WORK, Stage.SEPARATE)
    (delivery,) = await mailbox.fetch(1, 5)
    assert not saying.done()
    await delivery.ack()
    await asyncio.wait_for(saying, 10)
    assert [second] == await waiting(js, subject_of(second))


async def _limit(js: JetStreamContext, stream: str, messages: int) -> None:
    """Let ``stream`` hold so many messages, until the broker is cleaned."""
    (config,) = (config for config in streams(1) if config.name == stream)
    await js.update_stream(config.evolve(max_msgs=messages))
