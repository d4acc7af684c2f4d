"""A child that does as the request says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from shared.child_main import Reporter, serve
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many requests it takes at a time.
LANES_VARIABLE: Final = "OBEDIENT_LANES"


class Do(Struct):
    """What to do, and with what."""

    what: str
    text: str = ""
    number: int = 0


class Said(Struct):
    """What came of it."""

    text: str


def handle(request: Do, report: Reporter) -> None:
    """Do it."""
    ACTIONS[request.what](request, report)


def _echo(request: Do, report: Callable[[Struct], None]) -> None:
    for turn in range(request.number):
        report(Said(f"{request.text}{turn}"))


def _environment(_: Do, report: Callable[[Struct], None]) -> None:
    for name in sorted(os.environ):
        report(Said(name))


def _folder(_: Do, report: Callable[[Struct], None]) -> None:
    report(Said(os.getcwd()))  # noqa: PTH109 - exactly what the kernel says


def _print(request: Do, report: Callable[[Struct], None]) -> None:
    print(request.text)  # noqa: T201 - a library might
    print("and on standard error", file=sys.stderr)  # noqa: T201 - likewise
    report(Said("printed"))


def _terminal(request: Do, _: Callable[[Struct], None]) -> None:
    raise TerminalError(Code.SOURCE_NOT_AUDIO, request.text)


def _retryable(request: Do, _: Callable[[Struct], None]) -> None:
    raise RetryableError(Code.SOURCE_RATE_LIMITED, request.text, retry_after=request.number)


def _bug(request: Do, _: Callable[[Struct], None]) -> None:
    raise KeyError(request.text)


def _allocate(request: Do, report: Callable[[Struct], None]) -> None:
    held = bytearray(request.number)
    report(Said(str(len(held))))


def _write(request: Do, report: Callable[[Struct], None]) -> None:
    with open("out.bin", "wb") as file:  # noqa: PTH123 - in the folder that it was given
        file.write(b"x" * request.number)
    report(Said("written"))


def _signal(request: Do, _: Callable[[Struct], None]) -> None:
    os.kill(os.getpid(), request.number)


def _exit(request: Do, _: Callable[[Struct], None]) -> None:
    os._exit(request.number)


def _silent(_: Do, report: Callable[[Struct], None]) -> None:
    report(Said("good night"))
    time.sleep(1000)


def _busy(_: Do, report: Callable[[Struct], None]) -> None:
    report(Said("busy"))
    while True:
        pass


def _family(request: Do, report: Callable[[Struct], None]) -> None:
    """Start a child of one's own that holds the output open; then wait, die or be done."""
    child = subprocess.Popen(
        ["sleep", "1000"],  # noqa: S607 - every system has it
        start_new_session=request.text == "leave",
    )
    report(Said(str(child.pid)))
    match request.text:
        case "wait":
            time.sleep(1000)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)


def _gate(request: Do, report: Reporter) -> None:
    """Wait until a file of that name is there, and be deaf."""
    report(Said(f"at {request.text}"))
    while not Path(request.text).exists():
        time.sleep(0.001)
    report(Said(f"through {request.text}"))


def _heed(request: Do, report: Reporter) -> None:
    """Wait until it is called off; then return, or try to say something."""
    report(Said("listening"))
    report.called_off.wait()
    if request.text == "return":
        return
    try:
        report(Said("unheard"))
    except Exception:  # noqa: BLE001 - as a library might
        time.sleep(1000)


def _touch(request: Do, report: Reporter) -> None:
    Path(request.text).touch()
    report(Said("touched"))


def _thread(_: Do, report: Reporter) -> None:
    report(Said(threading.current_thread().name))
    report.called_off.wait()


def _twice(request: Do, report: Reporter) -> None:
    report(Said(2 * request.text))


ACTIONS: dict[str, Callable[[Do, Reporter], None]] = {
    "echo": _echo,
    "environment": _environment,
    "folder": _folder,
    "print": _print,
    "terminal": _terminal,
    "retryable": _retryable,
    "bug": _bug,
    "allocate": _allocate,
    "write": _write,
    "signal": _signal,
    "exit": _exit,
    "silent": _silent,
    "busy": _busy,
    "family": _family,
    "gate": _gate,
    "heed": _heed,
    "touch": _touch,
    "thread": _thread,
    "twice": _twice,
}


if __name__ == "__main__":
    serve(Do, handle, lanes=int(os.environ.get(LANES_VARIABLE, "1")))
