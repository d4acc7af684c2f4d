"""A client that does not give up: asks again with its own key for as long as nobody answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Final

import aiohttp

from tests.chaos.orders import Source

if TYPE_CHECKING:
    from tests.acceptance.api import Answer, Api
    from tests.chaos.orders import Order
    from tests.chaos.songs import Songs

#: Seconds that one answer may take before the client asks again; a gateway may be frozen.
ANSWER_SECONDS: Final = 10.0
#: Pause before it asks again.
AGAIN_SECONDS: Final = 0.3
#: What a server that is away looks like.
AWAY: Final = (aiohttp.ClientError, TimeoutError, OSError)
#: Answers that mean "later": there may be no broker, no disk, too many uploads.
LATER: Final = frozenset({408, 503, 507})


class WrongAnswerError(Exception):
    """An answer that no client should ever get."""


class Ticket:
    """What a client has been told, and what it has asked for."""

    def __init__(self, order: Order) -> None:
        self.order = order
        #: The accepted job.
        self.job_id = ""
        #: Status of the answer that accepted it.
        self.accepted = 0
        #: Submissions that nobody answered: each may have been accepted all the same.
        self.unanswered = 0
        self.cancels = 0
        #: An answer said that it is cancelled.
        self.cancelled = False
        self.retries = 0
        #: Answers that no client should ever get.
        self.wrong: list[str] = []


class Client:
    """Carries out one order."""

    def __init__(self, api: Api, songs: Songs, order: Order, *, key: str, began: float) -> None:
        self._api = api
        self._songs = songs
        self._order = order
        self._key = key
        self._began = began
        self.ticket = Ticket(order)

    async def run(self) -> None:
        """Submit when it is time; call it off and take it up again if that is the order."""
        await asyncio.sleep(self._began + self._order.at - monotonic())
        try:
            await self.submit()
            if self._order.cancel_after is not None:
                await asyncio.sleep(self._order.cancel_after)
                await self._cancel()
            if self._order.retry and await self._ended() != "completed":
                await self._retry()
        except WrongAnswerError as exc:
            self.ticket.wrong.append(str(exc))

    async def submit(self) -> None:
        """Submit until it is accepted; the same key says that it is the same submission."""
        given = await self._given()
        order = {"source": given, "options": {"model": "dsp", "format": self._order.format}}
        headers = {"Idempotency-Key": self._key}
        fine = {200, 201, 202}
        while True:
            answer = await self._ask("POST", "/v1/jobs", fine, json=order, headers=headers)
            if answer is not None:
                self.ticket.job_id = str(answer.json["id"])
                self.ticket.accepted = answer.status
                return
            self.ticket.unanswered += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _given(self) -> dict[str, str]:
        if self._order.source not in {Source.UPLOAD, Source.TEXT_UPLOAD}:
            return {"url": self._songs.url(self._order)}
        path = self._songs.path(self._order)
        data = await asyncio.to_thread(path.read_bytes)
        query = {"filename": path.name}
        while True:
            body = BytesIO(data)
            answer = await self._ask("POST", "/v1/uploads", {201}, params=query, data=body)
            if answer is not None:
                return {"upload": str(answer.json["upload"])}
            await asyncio.sleep(AGAIN_SECONDS)

    async def _cancel(self) -> None:
        """Ask until somebody says yes, or that it is too late."""
        while True:
            self.ticket.cancels += 1
            answer = await self._order_of("cancel")
            if answer is not None and answer.status != 404:
                self.ticket.cancelled = answer.status == 200
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _retry(self) -> None:
        """Ask until somebody says yes, or that it runs again already."""
        while True:
            self.ticket.retries += 1
            answer = await self._order_of("retry")
            if answer is not None and answer.status != 404:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _order_of(self, verb: str) -> Answer | None:
        # After a 202 the job may not be there yet; after a 201 it is.
        fine = {200, 202, 409} | ({404} if self.ticket.accepted == 202 else set())
        return await self._ask("POST", f"/v1/jobs/{self.ticket.job_id}/{verb}", fine)

    async def _ended(self) -> str:
        """The status it has ended with; live, and again from where the line broke."""
        path = f"/v1/jobs/{self.ticket.job_id}/events"
        last: int | None = None
        while True:
            # An assertion: it is not known yet, or the gateway is not ready.
            with suppress(*AWAY, AssertionError):
                async with aclosing(self._api.events(path, last)) as events:
                    async for event in events:
                        last = event.id or last
                        if event.ended:
                            return str(event.status)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, method: str, path: str, fine: set[int], **more: object) -> Answer | None:
        """One of the ``fine`` answers; None if there was none, or one that says "later".

        Without an answer nobody knows what came of it.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._api.ask(method, path, **more)
        except AWAY:
            return None
        if answer.status in LATER:
            return None
        if answer.status not in fine:
            said = answer.body[:300].decode(errors="replace")
            raise WrongAnswerError(f"{method} {path}: {answer.status} {said}")
        return answer
