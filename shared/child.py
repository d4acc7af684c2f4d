"""A child process: where everything runs that computes or that others wrote.

The parent's event loop never computes; yt-dlp, decoders and torch run in children that can
be killed, that are limited in memory and file size, and whose crash is an error with a code
and not an outage.  Messages are typed and travel over pipes as length-prefixed JSON frames:
requests on the child's standard input, reports on a descriptor of their own, so that nothing
a library prints can garble them.  A child ends when its parent does (its input closes).

``shared.child_main`` is the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import msgspec

from shared.contracts.codec import Decoder, encode
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")

HEADER: Final = struct.Struct(">cI")
#: Frame kinds: a report of the child's own, the request's failure, the request's end.
REPORT: Final = b"R"
PROBLEM: Final = b"P"
DONE: Final = b"D"
REQUEST: Final = b"Q"
#: Longest frame; messages are small, blobs travel by file.
FRAME_BYTES: Final = 1 << 20
#: Longest line of a child's output that is logged.
LINE_BYTES: Final = 4096
#: How long its last lines are waited for when it is gone.
LAST_LINES_SECONDS: Final = 1.0
#: Where ``shared`` and ``services`` are.
ROOT: Final = str(Path(__file__).resolve().parents[1])
#: Environment variables that a child inherits; credentials are not among them.
INHERITED: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONWARNINGS",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel holds a child to; 0 means no limit."""

    #: Bytes of private memory (RLIMIT_DATA); an allocation beyond it fails with MemoryError.
    memory_bytes: int = 0
    #: Bytes of the largest file it may write (RLIMIT_FSIZE).
    file_bytes: int = 0


class Child(Generic[Q, R]):
    """A running child that takes requests of type Q, one at a time, and reports R's on each."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        decoder: Decoder[R],
        on_line: Callable[[str], None],
    ) -> None:
        self._process = process
        self._reports = reports
        self._decoder = decoder
        self._output = asyncio.create_task(self._read_output(on_line))

    @classmethod
    async def start(
        cls,
        module: str,
        *,
        reports: Decoder[R],
        cwd: Path,
        on_line: Callable[[str], None],
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Run ``python -m module`` with ``cwd`` as its folder.

        Its environment is ``INHERITED`` and ``environment``; ``on_line`` gets each line it prints.
        """
        read_fd, write_fd = os.pipe()
        try:
            inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                cwd=cwd,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(write_fd,),
                # A session of its own: Ctrl-C reaches only the parent, a kill the whole group.
                start_new_session=True,
                env={
                    **inherited,
                    **(environment or {}),
                    # Its folder may hold others' files: modules come from where ours do.
                    "PYTHONSAFEPATH": "1",
                    "PYTHONPATH": os.pathsep.join(
                        filter(None, (ROOT, inherited.get("PYTHONPATH")))
                    ),
                    "PYTHONUNBUFFERED": "1",
                    "STEMBUS_CHILD_REPORT_FD": str(write_fd),
                    "STEMBUS_CHILD_LIMITS": encode(limits or Limits()).decode(),
                },
                limit=LINE_BYTES,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        stream = asyncio.StreamReader(limit=FRAME_BYTES)
        pipe = os.fdopen(read_fd, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        return cls(process, stream, reports, on_line)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""
        return self._process.returncode is None

    async def ask(self, request: Q, *, silence: float) -> AsyncGenerator[R, None]:
        """Send ``request`` and yield the child's reports until it is done with it.

        Raises what the child raised, or ``worker.crashed`` when it died, or
        ``worker.timed_out`` (and kills it) when it said nothing for ``silence`` seconds.
        If the iteration is left early, the child is killed: it has no other way to stop.
        """
        finished = False
        try:
            body = encode(request)
            stdin = self._process.stdin
            if stdin is None:  # pragma: no cover - it was started with a pipe
                raise self._death()
            stdin.write(HEADER.pack(REQUEST, len(body)) + body)
            with contextlib.suppress(ConnectionError):
                await stdin.drain()
            while True:
                kind, body = await self._frame(silence)
                if kind == REPORT:
                    yield self._decoder.decode(body)
                else:
                    finished = True
                    if kind == PROBLEM:
                        raise _revived(msgspec.json.decode(body, type=Problem))
                    return
        finally:
            if not finished:
                await self.kill()

    async def _frame(self, silence: float) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(silence):
                kind, length = HEADER.unpack(await self._reports.readexactly(HEADER.size))
                return kind, await self._reports.readexactly(min(length, FRAME_BYTES))
        except asyncio.IncompleteReadError as exc:
            await self.kill()
            raise self._death() from exc
        except TimeoutError as exc:
            detail = f"it said nothing for {silence:.0f} s"
            raise RetryableError(Code.WORKER_TIMED_OUT, detail) from exc

    def _death(self) -> StembusError:
        code = self._process.returncode
        if code is not None and code < 0:
            return RetryableError(Code.WORKER_CRASHED, f"killed by {signal.Signals(-code).name}")
        return RetryableError(Code.WORKER_CRASHED, f"exit status {code}")

    async def _read_output(self, on_line: Callable[[str], None]) -> None:
        output = self._process.stdout
        while output is not None:
            try:
                line = await output.readline()
            except ValueError:  # longer than LINE_BYTES: the rest of it comes as the next line
                continue
            if not line:
                return
            on_line(line.decode(errors="replace").rstrip())

    async def kill(self) -> None:
        """End it and everything it started, now; returns when it is gone."""
        # Where it has died but its output is still open, something that it started lives on.
        if self._process.returncode is None or not self._output.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        gone = asyncio.create_task(self._process.wait())
        try:
            while True:
                _, waiting = await asyncio.wait({gone, self._output}, timeout=LAST_LINES_SECONDS)
                # What has left its group may hold the output for ever: nobody waits for that.
                if not waiting or self._process.returncode is not None:
                    return
        finally:
            gone.cancel()
            self._output.cancel()
            # asyncio keeps the pipes until their other ends are closed, unless told.
            self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - has no public name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self.kill())


def _revived(problem: Problem) -> StembusError:
    if problem.retryable:
        return RetryableError(problem.code, problem.detail, retry_after=problem.retry_after)
    return TerminalError(problem.code, problem.detail)
