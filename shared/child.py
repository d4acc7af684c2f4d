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
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import msgspec

from shared.child_reports import Asked, Reports
from shared.child_wire import CANCEL, FRAME_BYTES, PROBLEM, REPORT, REQUEST, frame
from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")

#: How long a request that was called off has to end before its child is killed for it: long
#: enough for what looks up now and then, and with the kill within the two seconds in which a
#: cancelled job stops.
PATIENCE_SECONDS: Final = 1.0
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
    """A running child that takes requests of type Q and reports R's on each.

    It may be asked several things at once; how many it works on at a time is its own matter
    (``serve``'s lanes), and one that waits for a lane is silent meanwhile.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reports: asyncio.StreamReader,
        pipe: asyncio.BaseTransport,
        decoder: Decoder[R],
        on_line: Callable[[str], None],
        patience: float,
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._reports = Reports(reports, broken=self._condemn)
        self._decoder = decoder
        self._patience = patience
        #: Why it was killed, if it was by us: what its other requests are told.
        self._fault: str | None = None
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
        patience: float = 0.0,
    ) -> Self:
        """Run ``python -m module`` with ``cwd`` as its folder.

        Its environment is ``INHERITED`` and ``environment``; ``on_line`` gets each line it prints.
        ``patience``: seconds that a request has to end when it is left early; without any, the
        child is killed at once.  See ``ask``.
        """
        read_fd, write_fd = os.pipe()
        stream = asyncio.StreamReader(limit=FRAME_BYTES)
        pipe = os.fdopen(read_fd, "rb", buffering=0)
        transport: asyncio.BaseTransport | None = None
        try:
            # First, so that nothing has to be waited for once there is a child.
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), pipe
            )
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
            if transport is not None:
                transport.close()
            pipe.close()
            raise
        finally:
            os.close(write_fd)
        return cls(process, stream, transport, reports, on_line, patience)

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

        Raises what the child raised, or ``worker.crashed`` when it died or was killed, or
        ``worker.timed_out`` (and kills it) when it said nothing on this request for ``silence``
        seconds.

        If the iteration is left early, the request is called off.  A child that ends it in time
        lives on.  One that doesn't is killed if nothing else was asked of it; otherwise the
        others go on, and what still comes of this request is dropped.  A child without
        ``patience`` is killed in any case.
        """
        body = encode(request)
        if len(body) > FRAME_BYTES:
            raise RetryableError(Code.WORKER_CRASHED, f"a request of {len(body)} bytes")
        if self._reports.ended:
            await self.kill()
            raise self._death()
        asked = self._reports.open()
        try:
            self._send(REQUEST, asked, body)
            await self._taken(silence)
            while True:
                kind, body = await self._next(asked, silence)
                if kind == REPORT:
                    yield self._decoder.decode(body)
                elif kind == PROBLEM:
                    raise _revived(Decoder[Problem](Problem).decode(body))
                else:
                    return
        except UndecodableError as exc:
            self._condemn(f"a message that can't be read: {exc}")
            await self.kill()
            raise self._death() from exc
        finally:
            await self._leave(asked)

    def _send(self, kind: bytes, asked: Asked, body: bytes = b"") -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(frame(kind, asked.number, body))

    async def _taken(self, silence: float) -> None:
        """Wait until the child has read most of what was sent."""
        if self._process.stdin is None:  # pragma: no cover - it was started with a pipe
            return
        try:
            # One that is gone is noticed where its reports end.
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(silence):
                    await self._process.stdin.drain()
        except TimeoutError as exc:
            raise await self._silenced(silence) from exc

    async def _next(self, asked: Asked, silence: float) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(silence):
                found = await asked.next()
        except TimeoutError as exc:
            raise await self._silenced(silence) from exc
        if found is None:
            await self.kill()
            raise self._death()
        return found

    async def _silenced(self, silence: float) -> StembusError:
        """End it for its silence; what is raised for that."""
        detail = f"it said nothing for {silence:.0f} s"
        self._fault = self._fault or f"killed: {detail} on another request"
        await self.kill()
        return RetryableError(Code.WORKER_TIMED_OUT, detail)

    async def _leave(self, asked: Asked) -> None:
        """Be done with a request; call it off if it has not ended."""
        asked.leave()
        try:
            if self._patience and not asked.over.is_set():
                self._send(CANCEL, asked)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience):
                        await asked.over.wait()
        finally:
            self._reports.close(asked)
            # Beside others a stubborn request is left alone: their silence is still watched.
            spared = asked.over.is_set() or (self._patience and len(self._reports))
            if not spared:
                self._fault = self._fault or "killed: another request was called off"
            # What a dead child has started is ended too.
            if not spared or self._reports.ended:
                await self.kill()

    def _condemn(self, fault: str) -> None:
        """End a child that breaks the protocol, and keep the reason."""
        self._fault = self._fault or fault
        self._strike()

    def _strike(self) -> None:
        # Where it has died but its output is still open, something that it started lives on.
        open_output = not self._output.done() and not self._output.cancelling()
        if self._process.returncode is None or open_output:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _death(self) -> StembusError:
        code = self._process.returncode
        if self._fault is not None:
            return RetryableError(Code.WORKER_CRASHED, self._fault)
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
        self._strike()
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
            self._reports.stop()
            # asyncio keeps the pipes until their other ends are closed, unless told.
            self._pipe.close()
            self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - has no public name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self.kill())


def _revived(problem: Problem) -> StembusError:
    if problem.retryable:
        return RetryableError(problem.code, problem.detail, retry_after=problem.retry_after)
    return TerminalError(problem.code, problem.detail)
