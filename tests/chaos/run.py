"""One run: a stack, clients, faults, two looks, and what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import aiohttp
from msgspec import Struct

from tests.acceptance.api import Api
from tests.chaos import verdict
from tests.chaos.client import Client
from tests.chaos.follower import Follower
from tests.chaos.history import missed, whole
from tests.chaos.observer import observing
from tests.chaos.orders import Order, Source, orders
from tests.chaos.plan import described, plan
from tests.chaos.report import Report
from tests.chaos.songs import SETTINGS, SONGS, offered_songs
from tests.chaos.stems import wrong_stems
from tests.chaos.striker import Striker
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from tests.chaos.client import Ticket
    from tests.chaos.history import Seen
    from tests.chaos.observer import Observer
    from tests.chaos.songs import Songs
    from tests.support.stack import RunningStack

#: Pause between two looks at what nobody announces: the broker's queues.
LOOK_SECONDS: Final = 0.5
#: Seconds in which a page shows what the bucket has, once nothing is hurt any more.
PAGE_SECONDS: Final = 30.0
#: Seconds in which a stack that nobody has hurt yet accepts a job.
KEY_SECONDS: Final = 30.0
#: Status of the answer to what is stored and not yet decided.
ACCEPTED: Final = 202
#: Part of the time of faults in which clients submit.
SUBMITTING: Final = 0.6


class Size(Struct, frozen=True, kw_only=True):
    """How much of everything."""

    jobs: int
    #: Seconds of faults, seconds between them on the average, and of the longest freeze.
    seconds: float
    pause: float
    longest_freeze: float
    #: Seconds between the two looks.
    again: float
    #: Seconds in which all jobs have ended once nothing is hurt any more: far more than it takes.
    patience: float


LONG: Final = Size(
    jobs=200, seconds=120.0, pause=1.5, longest_freeze=16.0, again=60.0, patience=1500.0
)
SHORT: Final = Size(
    jobs=20, seconds=14.0, pause=0.62, longest_freeze=3.0, again=3.0, patience=240.0
)


class Run:
    """A run on a stack that is up."""

    def __init__(
        self,
        stack: RunningStack,
        songs: Songs,
        api: Api,
        observer: Observer,
        *,
        seed: int,
        size: Size,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._songs = songs
        self._api = api
        self._observer = observer
        self._seed = seed
        self._size = size
        self._say = say
        self._striker = Striker(stack, say)
        self._follower = Follower(api)
        self._tickets: list[Ticket] = []
        self._wrong: list[str] = []
        self._seconds: dict[str, float] = {}
        self._healed = 0.0

    async def run(self) -> Report:
        """Everything from the first submission to the second look."""
        following = asyncio.create_task(self._follower.run())
        await self._try_keys()
        await self._hurt()
        patience = self._size.patience
        await self._until("all jobs have ended", self._all_ended, patience)
        await self._until("the queues are empty", self._queues_empty, patience)
        await self._until("the page shows it", self._page_shows_all, PAGE_SECONDS)
        first = await self._observer.records()
        self._say(f"a second look in {self._size.again:g} s")
        await asyncio.sleep(self._size.again)
        second = await self._observer.records()
        await self._until("the queues are empty still", self._queues_empty, 0.0)
        await self._judge(first, second)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return await self._report(second)

    async def _try_keys(self) -> None:
        """Submit the same with the same key twice: it is one job."""
        order = Order(
            number=self._size.jobs, at=0.0, source=Source.URL, song=1, format="flac",
            cancel_after=None, retry=False,
        )  # fmt: skip
        for _ in range(2):
            async with asyncio.timeout(KEY_SECONDS):
                await self._client(order, monotonic()).submit()
        one, two = self._tickets
        if one.job_id != two.job_id:
            self._wrong.append(f"one key made two jobs, {one.job_id} and {two.job_id}")

    def _client(self, order: Order, began: float) -> Client:
        key = f"chaos-{self._seed}-{order.number}"
        client = Client(self._api, self._songs, order, key=key, began=began)
        self._tickets.append(client.ticket)
        return client

    async def _hurt(self) -> None:
        """Faults and clients, until no process is hurt any more and every client is content."""
        size = self._size
        strikes = plan(
            self._seed, seconds=size.seconds, pause=size.pause, longest_freeze=size.longest_freeze
        )
        wishes = orders(self._seed, count=size.jobs, seconds=size.seconds * SUBMITTING, songs=SONGS)
        self._say(f"seed {self._seed}; the plan:\n{described(strikes)}")
        began = monotonic()
        clients = [asyncio.create_task(self._client(wish, began).run()) for wish in wishes]
        await self._striker.run(strikes, began)
        self._healed = monotonic()
        self._say("nothing is hurt any more")
        content, waiting = await asyncio.wait(clients, timeout=size.patience)
        for task in waiting:
            task.cancel()
            self._wrong.append("a client still waits")
        await asyncio.gather(*content)

    async def _until(self, what: str, fact: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait for what nobody announces, and note how long it took since the last fault."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not await fact():  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(LOOK_SECONDS)
        if not await fact():
            self._wrong.append(f"not within {seconds:g} s: {what}")
        self._seconds[f"until {what}"] = round(monotonic() - self._healed, 1)
        self._say(f"{self._seconds[f'until {what}']:g} s until {what}")

    async def _all_ended(self) -> bool:
        return all(seen.record.ended for seen in (await self._observer.records()).values())

    async def _queues_empty(self) -> bool:
        return not any((await self._observer.left()).values())

    async def _page_shows_all(self) -> bool:
        records = await self._observer.records()
        return self._follower.shown == {key: seen.revision for key, seen in records.items()}

    async def _judge(self, first: Mapping[str, Seen], second: Mapping[str, Seen]) -> None:
        heard = self._observer.heard
        lives = {job_id: whole(heard[job_id], seen) for job_id, seen in second.items()}
        self._wrong += verdict.of_jobs(lives, self._tickets)
        self._wrong += verdict.of_second_look(first, second)
        self._wrong += verdict.of_revisions(self._observer.revisions)
        self._wrong += verdict.of_processes(self._stack.said)
        self._wrong += verdict.of_blobs(self._stack.data / "blobs", second)
        self._wrong += self._follower.wrong
        for ticket in self._tickets:
            seen = second.get(ticket.job_id)
            if seen is not None and seen.record.status == "completed":
                found = await wrong_stems(self._api, ticket.job_id, ticket.order, self._songs)
                self._wrong += [f"job {ticket.job_id}: {line}" for line in found]

    async def _report(self, records: Mapping[str, Seen]) -> Report:
        found = [seen.record for seen in records.values()]
        tickets = self._tickets
        return Report(
            seed=self._seed,
            wrong=self._wrong,
            outcomes=_sorted(
                f"{record.status} {record.error.code}" if record.error else record.status
                for record in found
            ),
            faults={**self._striker.done, "target was away": len(self._striker.missed)},
            ends=_sorted(" ".join(end) for end in verdict.ends(self._stack.said)),
            deliveries=await self._observer.deliveries(),
            clients={
                "submissions": len(tickets),
                "unanswered submissions": sum(ticket.unanswered for ticket in tickets),
                "accepted later (202)": sum(ticket.accepted == ACCEPTED for ticket in tickets),
                "cancels asked for": sum(ticket.cancels for ticket in tickets),
                "retries asked for": sum(ticket.retries for ticket in tickets),
                "records heard": len(self._observer.revisions),
                "gaps in what was heard": sum(map(missed, self._observer.heard.values())),
                "connections of the page": self._follower.connections,
            },
            seconds=self._seconds,
        )


def _sorted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def chaos(folder: Path, seed: int, size: Size, say: Callable[[str], None]) -> Report:
    """A run on a stack of its own, whose state stays in ``folder``."""

    async def on(stack: RunningStack, songs: Songs) -> Report:
        async with aiohttp.ClientSession() as session, observing(stack.nats_url) as observer:
            api = Api(session, stack.url)
            return await Run(stack, songs, api, observer, seed=seed, size=size, say=say).run()

    with (
        offered_songs(folder / "songs") as songs,
        running_stack(folder / "data", settings=SETTINGS, schedulers=2) as stack,
    ):
        return asyncio.run(on(stack, songs))
