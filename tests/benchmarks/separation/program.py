"""Programs of others: run to their end, or kept and given one song after another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

#: What a kept program says when it can take a song, and when it has done one.
READY: Final = b"READY"
_TAIL: Final = 2000


class ProgramError(RuntimeError):
    """A program did not do what it was asked for."""


def environment(threads: int, path: Path | None = None) -> dict[str, str]:
    """What a program gets to know: no network, so many threads, and ``path`` before ours."""
    paths = os.pathsep.join(filter(None, (str(path) if path else "", os.environ["PATH"])))
    return {
        **os.environ,
        "PATH": paths,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
    }


async def run(command: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
    """Run a program to its end; what it prints goes to ``log``."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
        try:
            code = await process.wait()
        finally:
            _end(process)
    if code:
        raise ProgramError(f"{command[0]} ended with {code}: {_tail(log)}")


class Kept:
    """A program that takes a line of JSON for each song, and answers ``READY``."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def ask(self, **words: str) -> None:
        """Give it a song, and wait until it has done it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it says so."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.strip() == READY:
                return
        raise ProgramError(f"it ended with {await self._process.wait()}: {_tail(self._log)}")


@asynccontextmanager
async def kept(
    command: Sequence[str], log: Path, environ: Mapping[str, str]
) -> AsyncIterator[Kept]:
    """A program that has said that it is ready; killed afterwards."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
        try:
            program = Kept(process, log)
            await program.ready()
            yield program
        finally:
            _end(process)
            await process.wait()


def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it and all that it started; nothing if it has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    return log.read_bytes()[-_TAIL:].decode(errors="replace")
