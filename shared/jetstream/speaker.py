"""Says words on the bus: how each kind is published, and how twice becomes once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import nats.js.errors
from nats.js.api import Header

from shared.contracts.codec import encode
from shared.contracts.commands import Command, Reply
from shared.contracts.facts import Fact, FactBase
from shared.contracts.subjects import id_of, subject_of, waiting_work
from shared.contracts.work import StopOrder, Work
from shared.jetstream.connection import PUBLISH_SECONDS, broker_errors, until_connected
from shared.jetstream.topology import WORK

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.typing import FilteringBoundLogger

    from shared.telemetry import Telemetry

#: The broker's code for "this subject has its one message already", and for a full stream.
_STORE_FAILED: Final = 10077
#: The broker's codes for a message that is not there any more: it was acknowledged meanwhile.
_GONE: Final = frozenset({10037, 10043, 10057})


class _Attempt(msgspec.Struct):
    attempt: int = 0


class JetStreamSpeaker:
    """Publishes words, each in the way of its kind; waits for as long as the broker is away."""

    def __init__(self, nc: Client, log: FilteringBoundLogger, telemetry: Telemetry) -> None:
        self._nc = nc
        self._js: JetStreamContext = nc.jetstream(timeout=PUBLISH_SECONDS)
        self._log = log
        self._telemetry = telemetry

    async def say(self, word: Work | StopOrder | Reply | Fact) -> None:
        """Publish ``word``; returns once it is stored, or sent where it is not stored."""
        await until_connected(lambda: self._say(word), self._log)

    async def ask(self, command: Command) -> None:
        """Store a command, once; ConnectionError if the broker can't do it now."""
        if not self._nc.is_connected:
            # The client would keep it back and send it later, after we have said no.
            raise ConnectionError("the broker is away")
        await self._store(command)

    async def _say(self, word: Work | StopOrder | Reply | Fact) -> None:
        match word:
            case Reply():
                with broker_errors():
                    await self._nc.publish(word.to, encode(word.answer))
            case StopOrder():
                await self._stop(word)
            case FactBase():
                await self._store(word)
            case _:
                await self._order(word)

    async def _store(self, message: Command | Fact) -> None:
        with broker_errors():
            await self._publish(message)

    async def _publish(self, message: Command | Fact | Work) -> None:
        headers = {Header.MSG_ID.value: id_of(message), **self._telemetry.headers()}
        await self._js.publish(subject_of(message), encode(message), headers=headers)

    async def _order(self, work: Work) -> None:
        with broker_errors():
            try:
                await self._publish(work)
            except nats.js.errors.APIError as exc:
                if exc.err_code != _STORE_FAILED:
                    raise ConnectionError(str(exc)) from exc
            else:
                return
            # Said already, or an earlier attempt whose worker has not acknowledged it yet; or
            # the stream is full, which the second try will show.
            if await self._ordered_attempt(subject_of(work)) < work.attempt:
                await self._take_away(subject_of(work))
                await self._publish(work)

    async def _ordered_attempt(self, subject: str) -> int:
        try:
            message = await self._js.get_last_msg(WORK, subject)
            return msgspec.json.decode(message.data or b"", type=_Attempt).attempt
        except (nats.js.errors.NotFoundError, msgspec.MsgspecError):
            return 0

    async def _stop(self, order: StopOrder) -> None:
        with broker_errors():
            for waiting in waiting_work(order.job_id):
                await self._take_away(waiting)
            await self._nc.publish(subject_of(order), encode(order))

    async def _take_away(self, subjects: str) -> None:
        """Delete what lies on ``subjects``, message by message.

        Not by a purge: one that is narrower than a durable's filter, and takes what the durable
        handed out last, moves its ack floor past everything else that is out (nats-server
        2.15.1), and what is not acknowledged then is never handed out again.
        """
        position = 1
        while True:
            try:
                found = await self._js.get_msg(WORK, seq=position, subject=subjects, next=True)
            except nats.js.errors.NotFoundError:
                return
            position = int(found.seq or position) + 1
            try:
                await self._js.delete_msg(WORK, position - 1)
            except nats.js.errors.APIError as exc:
                if exc.err_code not in _GONE:
                    raise ConnectionError(str(exc)) from exc
