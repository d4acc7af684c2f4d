"""Carries out a plan of faults on a running stack, and in the end heals what it has frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from tests.chaos.plan import Fault
from tests.support.processes import children_of
from tests.support.stack import LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.plan import Strike
    from tests.support.stack import RunningStack

#: Seconds that a target which is not there is waited for: one that has died again and again is
#: started again only after a while, and a child is there only while it has something to do.
WAIT_SECONDS: Final = 5.0


class Striker:
    """Hurts one stack."""

    def __init__(self, stack: RunningStack, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._say = say
        #: Faults that were done, by their name.
        self.done: Counter[str] = Counter()
        #: Strikes whose target was not there.
        self.missed: list[Strike] = []

    async def run(self, strikes: Sequence[Strike], began: float) -> None:
        """All of them at their time; everything goes on afterwards, whatever happens."""
        try:
            async with asyncio.TaskGroup() as group:
                for strike in strikes:
                    group.create_task(self._strike(strike, began))
        finally:
            self.heal()

    def heal(self) -> None:
        """Let every process go on that may be frozen."""
        for pid in self._stack.family():
            _send(pid, signal.SIGCONT)

    async def _strike(self, strike: Strike, began: float) -> None:
        await asyncio.sleep(began + strike.at - monotonic())
        pid = await self._found(strike)
        if pid is None:
            self.missed.append(strike)
            self._say(f"{strike}: it is not there")
            return
        self._say(f"{strike} ({pid})")
        self.done[strike.fault] += 1
        match strike.fault:
            case Fault.KILL:
                _send(pid, signal.SIGKILL)
            case Fault.RESTART:
                _send(pid, signal.SIGTERM)
            case Fault.FREEZE:
                _send(pid, signal.SIGSTOP)
                await asyncio.sleep(strike.seconds)
                _send(pid, signal.SIGCONT)

    async def _found(self, strike: Strike) -> int | None:
        """The process that is meant, as soon as there is one."""
        deadline = monotonic() + WAIT_SECONDS
        while (pid := self._pid_of(strike)) is None and monotonic() < deadline:  # noqa: ASYNC110 - nobody announces a process
            await asyncio.sleep(LOOK_SECONDS)
        return pid

    def _pid_of(self, strike: Strike) -> int | None:
        pid = self._stack.members().get(strike.target.member)
        if pid is None or not strike.target.child:
            return pid
        children = sorted(children_of(pid))
        return children[int(strike.chance * len(children)) % len(children)] if children else None


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
