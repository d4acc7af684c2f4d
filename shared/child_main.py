"""The inside of a child process: reads requests, runs the handler, writes reports.

A child module ends with ``serve(Request, handle)``; see ``shared.child`` for the other end.
"""

from __future__ import annotations

import os
import queue
import resource
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from shared.child import DONE, FRAME_BYTES, HEADER, PROBLEM, REPORT, Limits
from shared.contracts.codec import encode
from shared.contracts.problem import Problem
from shared.errors import Code, RetryableError, StembusError

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[msgspec.Struct], None]

#: Requests that may wait in the child; a parent sends one at a time.
_REQUESTS_WAITING: Final = 16


def serve(request_type: Any, handle: Callable[[Any, Report], None]) -> None:  # noqa: ANN401 - a union is not a type for mypy
    """Handle requests until the parent closes the pipe.  Never returns.

    What ``handle`` raises ends the request, not the child: a ``StembusError`` as it is, a
    MemoryError as ``worker.out_of_memory``, anything else as ``worker.crashed`` with its
    traceback on the child's output.
    """
    _limit(msgspec.json.decode(os.environ.pop("STEMBUS_CHILD_LIMITS"), type=Limits))
    reports = os.fdopen(int(os.environ.pop("STEMBUS_CHILD_REPORT_FD")), "wb", buffering=0)
    decoder = msgspec.json.Decoder(request_type)
    waiting: queue.Queue[bytes] = queue.Queue(_REQUESTS_WAITING)
    threading.Thread(target=_read, args=(sys.stdin.buffer, waiting), daemon=True).start()

    def write(kind: bytes, body: bytes = b"") -> None:
        reports.write(HEADER.pack(kind, len(body)) + body)

    while True:
        request = decoder.decode(waiting.get())
        try:
            handle(request, lambda report: write(REPORT, encode(report)))
        except StembusError as exc:
            write(PROBLEM, encode(Problem.of(exc)))
        except MemoryError:
            write(PROBLEM, encode(Problem.of(RetryableError(Code.WORKER_OUT_OF_MEMORY))))
        except Exception as exc:  # noqa: BLE001 - the border of the process: a bug becomes an error with a code
            traceback.print_exc()
            crash = RetryableError(Code.WORKER_CRASHED, f"{type(exc).__name__}: {exc}"[:300])
            write(PROBLEM, encode(Problem.of(crash)))
        else:
            write(DONE)


def _limit(limits: Limits) -> None:
    for what, value in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        if value:
            resource.setrlimit(what, (value, value))


def _read(pipe: BinaryIO, waiting: queue.Queue[bytes]) -> None:
    while True:
        header = pipe.read(HEADER.size)
        if len(header) < HEADER.size:
            # The parent is gone.  The main thread may be deep in a computation: leave at once.
            os._exit(0)
        _, length = HEADER.unpack(header)
        waiting.put(pipe.read(min(length, FRAME_BYTES)))
