"""Asks the scheduler: stores a command durably, then waits, briefly, for the answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from shared.contracts.codec import Decoder, UndecodableError
from shared.contracts.commands import (
    Accepted,
    AcceptedBatch,
    Answer,
    Command,
    Refused,
    SubmitBatch,
    SubmitJob,
)
from shared.errors import Code, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from structlog.typing import FilteringBoundLogger

    from shared.contracts.problem import Problem

#: Seconds that an answer may be on its way: a refusal that was given in time must not come after
#: the client has been told that its job is accepted.
WAY_SECONDS: Final = 0.5


class RefusedError(Exception):
    """The scheduler said no."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


class Inbox(Protocol):
    """Where commands are stored."""

    async def ask(self, command: Command) -> None:
        """Store it once; ConnectionError if that can't be done now."""


class Asker:
    """Sends commands and matches the answers to them, over one subscription."""

    def __init__(
        self,
        *,
        nc: Client,
        inbox: Inbox,
        answer_seconds: float,
        now: Callable[[], datetime],
        log: FilteringBoundLogger,
    ) -> None:
        self._nc = nc
        self._inbox = inbox
        self._answer_seconds = answer_seconds
        self._now = now
        self._log = log
        self._prefix: str = nc.new_inbox()
        self._asked = 0
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._decoder: Decoder[Answer] = Decoder(Answer)

    async def start(self) -> None:
        """Listen for answers."""
        await self._nc.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def ask(self, command: Command) -> Accepted | AcceptedBatch | None:
        """What the scheduler answers; None if it does not in time.

        With None the command is stored all the same and will be carried out.  Raises
        ``RefusedError`` if the scheduler refuses, ``service.unavailable`` if the command
        could not be stored.
        """
        self._asked += 1
        reply_to = f"{self._prefix}.{self._asked}"
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[reply_to] = answer
        try:
            await self._store(self._addressed(command, reply_to))
            async with asyncio.timeout(self._answer_seconds + WAY_SECONDS):
                answered = await answer
        except TimeoutError:
            return None
        finally:
            del self._waiting[reply_to]
        if isinstance(answered, Refused):
            raise RefusedError(answered.problem)
        return answered

    def _addressed(self, command: Command, reply_to: str) -> Command:
        if isinstance(command, SubmitJob | SubmitBatch):
            answer_by = self._now() + timedelta(seconds=self._answer_seconds)
            return replace(command, reply_to=reply_to, answer_by=answer_by)
        return replace(command, reply_to=reply_to)

    async def _store(self, command: Command) -> None:
        try:
            await self._inbox.ask(command)
        except ConnectionError as exc:
            raise RetryableError(Code.SERVICE_UNAVAILABLE, "the broker is away") from exc

    async def _on_answer(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        try:
            answer = self._decoder.decode(message.data)
        except UndecodableError as exc:
            self._log.warning("undecodable answer", reason=str(exc))
            return
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
