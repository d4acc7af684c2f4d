"""Keeps processes running: starts them, starts them again when they die, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

#: Pause before a dead process is started again; doubled each time, up to the longest.
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 10.0
#: A process that ran this long has recovered: the next pause is a short one again.
RECOVERED_SECONDS: Final = 20.0
#: How often a log is looked at, and the size over which its content is put aside.
LOG_SECONDS: Final = 60.0
MAX_LOG_BYTES: Final = 16 << 20
_PR_SET_PDEATHSIG: Final = 1


class Supervised:
    """One process that shall run until it is told to stop."""

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        on_death: Callable[[str, int], None],
    ) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._on_death = on_death
        #: How often it has ended without being told to.
        self.deaths = 0
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        """Run it from now on; OSError if it can't be run at all."""
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def stop(self, grace: float) -> None:
        """SIGTERM; SIGKILL after ``grace`` seconds."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            started = monotonic()
            if self._process is not None:
                code = await self._ended(self._process)
                self.deaths += 1
                self._on_death(self.name, code)
            pause = FIRST_PAUSE if monotonic() - started > RECOVERED_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self._spawn()
            except OSError:  # no memory, no descriptors: there may be some later
                self._process = None

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """Its exit status; meanwhile its log is kept within bounds."""
        while True:
            try:
                async with asyncio.timeout(LOG_SECONDS):
                    return await process.wait()
            except TimeoutError:
                self._bound_log()

    def _bound_log(self) -> None:
        """Put the log's content aside; the process goes on writing to the same file."""
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(self._log, self._log.with_suffix(".old.log"))
            os.truncate(self._log, 0)

    async def _spawn(self) -> None:
        self._bound_log()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                # Ctrl-C is for the supervisor; it stops the others in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )


def _die_with_parent() -> Callable[[], None] | None:
    """What a new process does first, so that it ends when the supervisor is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return bind
