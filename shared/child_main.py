"""The inside of a child process: reads requests, runs the handler, writes reports.

A child module ends with ``serve(Request, handle)``; see ``shared.child`` for the other end.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

import msgspec

from shared.child import Limits
from shared.child_wire import (
    CANCEL,
    DONE,
    HEADER,
    PROBLEM,
    REPORT,
    REQUEST,
    frame,
    opened,
)
from shared.contracts.codec import encode
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError, StembusError

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[bytes, int, bytes], None]

#: Requests that may wait for a lane; one more is refused, since a reader that waited for room
#: would hear neither of a request that is called off nor of the parent's end.
REQUESTS_WAITING: Final = 16
_KINDS: Final = frozenset({REQUEST, CANCEL})


class CalledOffError(BaseException):
    """The parent no longer wants the request; no ``except Exception`` of a library keeps it."""


class Reporter:
    """Takes one request's reports to the parent; any thread may call it, and gets its errors."""

    def __init__(self, number: int, write: Write) -> None:
        #: Set when the parent has called the request off: the handler is to return soon.
        self.called_off = threading.Event()
        self._number = number
        self._write = write

    def __call__(self, message: msgspec.Struct) -> None:
        """Say ``message``; ``CalledOffError`` when nobody wants to hear it any more."""
        if self.called_off.is_set():
            raise CalledOffError
        self._write(REPORT, self._number, encode(message))


class Requests:
    """The requests that wait, first come, first served, and those that are being handled."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, bytes] = {}
        self._running: dict[int, Reporter] = {}

    def add(self, number: int, body: bytes) -> bool:
        """Let a request wait; False if too many do."""
        with self._changed:
            if len(self._waiting) >= REQUESTS_WAITING:
                return False
            self._waiting[number] = body
            self._changed.notify()
            return True

    def take(self, write: Write) -> tuple[int, bytes, Reporter]:
        """Wait for a request; it runs until ``end``."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            number = next(iter(self._waiting))
            reporter = self._running[number] = Reporter(number, write)
            return number, self._waiting.pop(number), reporter

    def end(self, number: int) -> None:
        """A request has been handled."""
        with self._changed:
            del self._running[number]

    def call_off(self, number: int) -> bool:
        """Whether the request was waiting, and so will never start; one that runs is told."""
        with self._changed:
            if number in self._running:
                self._running[number].called_off.set()
            return self._waiting.pop(number, None) is not None


class ReportPipe:
    """The way to the parent, for several threads: one frame is written at a time."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def write(self, kind: bytes, number: int, body: bytes = b"") -> None:
        """Write a frame, whole; ``FrameError`` when it is too long."""
        left = memoryview(frame(kind, number, body))
        with self._lock:
            while left:
                # A pipe takes less than it was given when a signal comes in between.
                left = left[self._pipe.write(left) :]


def serve(
    request_type: Any,  # noqa: ANN401 - a union is not a type for mypy
    handle: Callable[[Any, Reporter], None],
    *,
    lanes: int = 1,
    main: Callable[[], None] | None = None,
) -> NoReturn:
    """Handle requests until the parent closes the pipe, up to ``lanes`` at a time.

    What ``handle`` raises ends the request, not the child: a ``StembusError`` as it is, a
    MemoryError as ``worker.out_of_memory``, anything else as ``worker.crashed`` with its
    traceback on the child's output.

    ``main`` runs in the main thread, beside the lanes; where it ends, the child does.  Without
    it the main thread is one of the lanes.
    """
    _limit(msgspec.json.decode(os.environ.pop("STEMBUS_CHILD_LIMITS"), type=Limits))
    pipe = os.fdopen(int(os.environ.pop("STEMBUS_CHILD_REPORT_FD")), "wb", buffering=0)
    requests, reports = Requests(), ReportPipe(pipe)
    lane = Lane(requests, reports, msgspec.json.Decoder(request_type), handle)
    _thread(lambda: _read(sys.stdin.buffer, requests, reports))
    for _ in range(lanes if main else lanes - 1):
        _thread(lane.run)
    _to_the_end(main or lane.run)


class Lane:
    """Handles one request after the other; each lane's thread runs the same one."""

    def __init__(
        self,
        requests: Requests,
        reports: ReportPipe,
        decoder: msgspec.json.Decoder[Any],
        handle: Callable[[Any, Reporter], None],
    ) -> None:
        self._requests = requests
        self._reports = reports
        self._decoder = decoder
        self._handle = handle

    def run(self) -> None:
        """Never returns."""
        while True:
            number, body, reporter = self._requests.take(self._reports.write)
            problem = self._outcome(body, reporter)
            self._requests.end(number)
            if problem is None:
                self._reports.write(DONE, number)
            else:
                self._reports.write(PROBLEM, number, encode(problem))

    def _outcome(self, body: bytes, reporter: Reporter) -> Problem | None:
        try:
            self._handle(self._decoder.decode(body), reporter)
        except CalledOffError:
            return None
        except StembusError as exc:
            return Problem.of(exc)
        except MemoryError:
            return Problem.of(RetryableError(Code.WORKER_OUT_OF_MEMORY))
        except Exception as exc:  # noqa: BLE001 - the border of the process: a bug becomes an error with a code
            traceback.print_exc()
            return Problem.of(_crash(f"{type(exc).__name__}: {exc}"))
        return None


def _crash(detail: str) -> StembusError:
    return RetryableError(Code.WORKER_CRASHED, detail[:300])


def _limit(limits: Limits) -> None:
    for what, value in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        if value:
            resource.setrlimit(what, (value, value))


def _thread(run: Callable[[], None]) -> None:
    threading.Thread(target=_to_the_end, args=(run,), daemon=True).start()


def _to_the_end(run: Callable[[], None]) -> NoReturn:
    """Run what the child can't do without; where it ends, the child does, from any thread."""
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the parent learns that the child is gone
        traceback.print_exc()
    finally:
        os._exit(status)


def _read(pipe: BinaryIO, requests: Requests, reports: ReportPipe) -> None:
    """Take in what the parent sends, until it is gone.

    The lanes may be deep in a computation then: returning ends the child at once.
    """
    while len(header := pipe.read(HEADER.size)) == HEADER.size:
        kind, number, length = opened(header, _KINDS)
        body = pipe.read(length)
        if len(body) < length:
            return
        if kind == CANCEL:
            if requests.call_off(number):
                reports.write(DONE, number)
        elif not requests.add(number, body):
            problem = Problem.of(_crash(f"{REQUESTS_WAITING} requests wait in it already"))
            reports.write(PROBLEM, number, encode(problem))
