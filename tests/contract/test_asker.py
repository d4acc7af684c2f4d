"""A gateway's question to the scheduler: stored first, answered if somebody is there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from services.gateway import actor
from services.gateway.actor import Asker, RefusedError
from shared.contracts.batch import batch_snapshot
from shared.contracts.codec import Decoder, encode
from shared.contracts.commands import (
    Accepted,
    AcceptedBatch,
    Answer,
    CancelJob,
    Command,
    Refused,
    SubmitBatch,
    SubmitJob,
)
from shared.contracts.problem import Problem
from shared.contracts.snapshot import snapshot
from shared.errors import Code, RetryableError, TerminalError
from shared.jetstream.connection import flushed
from shared.jetstream.mailbox import JetStreamMailbox
from shared.jetstream.topology import INBOX, SCHEDULER
from tests.support.batches import submit_batch, submitted
from tests.support.jobs import JOB, NOW, cancelled, pending, submit

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

    from shared.jetstream.speaker import JetStreamSpeaker

#: A scheduler here answers at once, or never.
ANSWER_SECONDS = 5.0
COMMANDS: Decoder[Command] = Decoder(Command)
PENDING = Accepted(job=snapshot(pending()))
CANCELLED = Accepted(job=snapshot(cancelled()))
NO_SUCH_JOB = Refused(problem=Problem.of(TerminalError(Code.JOB_NOT_FOUND, JOB)))


async def asker_of(
    nc: Client, speaker: JetStreamSpeaker, log: FilteringBoundLogger, patience: float
) -> Asker:
    asker = Asker(nc=nc, inbox=speaker, answer_seconds=patience, now=lambda: NOW, log=log)
    await asker.start()
    return asker


@pytest.fixture
async def asker(nc: Client, speaker: JetStreamSpeaker, log: FilteringBoundLogger) -> Asker:
    return await asker_of(nc, speaker, log, ANSWER_SECONDS)


async def asked(js: JetStreamContext, count: int = 1) -> list[Command]:
    """What the scheduler finds in its inbox."""
    mailbox = await JetStreamMailbox.bind(js, INBOX, SCHEDULER)
    found: list[Command] = []
    while len(found) < count:
        for delivery in await mailbox.fetch(count, 5):
            found.append(COMMANDS.decode(delivery.body))
            await delivery.ack()
    return found


async def test_a_command_is_stored_and_its_answer_is_the_job(
    nc: Client, js: JetStreamContext, asker: Asker
) -> None:
    asking = asyncio.create_task(asker.ask(submit()))
    (command,) = await asked(js)
    assert command.reply_to
    await nc.publish(command.reply_to, encode(PENDING))
    assert await asking == PENDING


async def test_a_refusal_is_an_error_with_its_problem(
    nc: Client, js: JetStreamContext, asker: Asker
) -> None:
    asking = asyncio.create_task(asker.ask(CancelJob(job_id=JOB)))
    (command,) = await asked(js)
    await nc.publish(command.reply_to, encode(NO_SUCH_JOB))
    with pytest.raises(RefusedError) as caught:
        await asking
    assert NO_SUCH_JOB.problem == caught.value.problem


async def test_each_answer_finds_its_question(
    nc: Client, js: JetStreamContext, asker: Asker
) -> None:
    asking = [
        asyncio.create_task(asker.ask(command))
        for command in (submit(), CancelJob(job_id=JOB), CancelJob(job_id=JOB))
    ]
    commands = await asked(js, 3)
    answers: list[Answer] = [
        CANCELLED if isinstance(command, CancelJob) else PENDING for command in commands
    ]
    for command, answer in reversed(list(zip(commands, answers, strict=True))):
        await nc.publish(command.reply_to, encode(answer))
    assert await asyncio.gather(*asking) == [PENDING, CANCELLED, CANCELLED]


async def test_an_answer_that_does_not_come_is_none_and_the_command_is_stored(
    nc: Client,
    js: JetStreamContext,
    speaker: JetStreamSpeaker,
    log: FilteringBoundLogger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actor, "WAY_SECONDS", 0.0)
    asker = await asker_of(nc, speaker, log, 0.05)
    assert await asker.ask(submit()) is None
    (command,) = await asked(js)
    assert command.job_id == JOB
    # One that comes after all disturbs nobody.
    await nc.publish(command.reply_to, encode(PENDING))
    await flushed(nc)
    assert asker._waiting == {}


async def test_what_is_no_answer_is_not_taken_for_one(
    nc: Client, js: JetStreamContext, asker: Asker
) -> None:
    asking = asyncio.create_task(asker.ask(submit()))
    (command,) = await asked(js)
    for body in (b"", b"{}", encode(PENDING), encode(NO_SUCH_JOB)):
        await nc.publish(command.reply_to, body)
    assert await asking == PENDING


async def test_a_broker_that_can_t_store_it_is_an_error_that_says_so(
    nc: Client, log: FilteringBoundLogger
) -> None:
    class Away:
        async def ask(self, _: Command) -> None:
            raise ConnectionError

    asker = Asker(nc=nc, inbox=Away(), answer_seconds=ANSWER_SECONDS, now=lambda: NOW, log=log)
    with pytest.raises(RetryableError) as caught:
        await asker.ask(submit())
    assert caught.value.code == Code.SERVICE_UNAVAILABLE
    assert asker._waiting == {}


async def test_a_submission_says_until_when_it_may_be_refused(
    nc: Client, js: JetStreamContext, asker: Asker
) -> None:
    """From then on the client may have been told that it is accepted."""
    asking = [asyncio.create_task(asker.ask(one)) for one in (submit(), submit_batch())]
    for command in await asked(js, 2):
        assert isinstance(command, SubmitJob | SubmitBatch)
        assert command.answer_by == NOW + timedelta(seconds=ANSWER_SECONDS)
        await nc.publish(command.reply_to, encode(PENDING))
    await asyncio.gather(*asking)


async def test_a_refusal_that_was_given_in_time_may_be_on_its_way_for_a_while(
    nc: Client,
    js: JetStreamContext,
    speaker: JetStreamSpeaker,
    log: FilteringBoundLogger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert actor.WAY_SECONDS > 0
    monkeypatch.setattr(actor, "WAY_SECONDS", 20.0)
    asker = await asker_of(nc, speaker, log, 0.0)
    asking = asyncio.create_task(asker.ask(submit()))
    (command,) = await asked(js)
    await nc.publish(command.reply_to, encode(NO_SUCH_JOB))
    with pytest.raises(RefusedError):
        await asking


@pytest.mark.parametrize("repeated", [False, True])
async def test_an_answer_says_whether_it_was_asked_before(
    nc: Client, js: JetStreamContext, asker: Asker, *, repeated: bool
) -> None:
    for command, answer in (
        (submit(), Accepted(job=snapshot(pending()), repeated=repeated)),
        (submit_batch(), AcceptedBatch(batch=batch_snapshot(submitted()), repeated=repeated)),
    ):
        asking = asyncio.create_task(asker.ask(command))
        (found,) = await asked(js)
        await nc.publish(found.reply_to, encode(answer))
        assert answer == await asking
