"""The real stack for tests: ``stembus up`` as a process of its own, and its services to be hurt."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from services.cli.stack import Note
from tests.support.processes import children_of, ends_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
#: Seconds that an orderly stop may take: the services' grace, then the broker's.
STOP_SECONDS: Final = 30.0
#: How often a fact is looked for that nobody announces.
LOOK_SECONDS: Final = 0.02
#: Words in a command line that tell what a process is.
_NAMES: Final = {
    "nats-server": "broker",
    "services.gateway": "gateway",
    "services.scheduler": "scheduler",
    "services.downloader": "downloader",
    "services.separator": "separator",
}


class RunningStack:
    """A stack that runs, seen from outside: its addresses and its processes."""

    def __init__(self, process: subprocess.Popen[str], data: Path) -> None:
        note = msgspec.json.decode((data / "stack.json").read_bytes(), type=Note)
        self.process = process
        self.data = data
        self.url = note.url
        self.nats_url = note.nats_url
        #: What ``up`` has said since it was up: which process ended, and how.
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(ValueError):  # closed while it was read
            for line in self.process.stderr or ():
                self.said.append(line)

    def pids(self) -> dict[str, int]:
        """The process of each service that runs now, and of the broker."""
        found = {_name_of(pid): pid for pid in children_of(self.process.pid)}
        return {name: pid for name, pid in found.items() if name}

    def members(self) -> dict[str, int]:
        """The same by the name that ``up`` gives each: ``scheduler-1``, ``scheduler-2``, ….

        Named by the folder that is its own; a process that is just being started has none yet.
        """
        found = {_member_of(pid): pid for pid in children_of(self.process.pid)}
        return {name: pid for name, pid in found.items() if name}

    def children(self, service: str) -> set[int]:
        """The child processes of a service."""
        pid = self.pids().get(service)
        return children_of(pid) if pid else set()

    def engine(self, member: str = "separator-1") -> int:
        """The engine of a separator, which has one."""
        (found,) = [pid for pid in children_of(self.members()[member]) if _is_engine(pid)]
        return found

    def family(self) -> set[int]:
        """Every process of the stack, its children's children included."""
        return _family(self.process.pid)

    def kill(self, service: str) -> int:
        """``kill -9`` of a service, or of the broker; the process id that it had."""
        pid = self.pids()[service]
        os.kill(pid, signal.SIGKILL)
        return pid

    def port_of(self, service: str) -> int:
        """The port that a service listens on for health and metrics."""
        (port,) = listening(self.pids()[service])
        return port

    def log(self, service: str) -> str:
        """What a service has logged."""
        return "\n".join(path.read_text() for path in (self.data / "logs").glob(f"{service}*.log"))


def command_line(*words: str) -> list[str]:
    """``stembus words…`` with this Python."""
    return [sys.executable, "-m", "services.cli", *words]


def environment(home: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """What our programs get to know: nothing of this machine's caches, no way to the network.

    Only the loopback is allowed, for the tests' own site.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "STEMBUS_ALLOW_NETWORKS": "127.0.0.0/8",
        "STEMBUS_TORCH_THREADS": "1",
        # A disk that is busy with other tests' stacks turns no 201 into a 202.
        "STEMBUS_ANSWER_SECONDS": "30",
        **(settings or {}),
    }


@contextmanager
def running_stack(
    data: Path,
    *,
    models: Path | None = None,
    settings: Mapping[str, str] | None = None,
    schedulers: int = 1,
    separators: int = 1,
) -> Iterator[RunningStack]:
    """``stembus up`` with its state in ``data``; nothing of it is left afterwards.

    ``settings`` are environment variables of all services.
    """
    # Several stacks start at the same moment: none may ask for a port that another one is taking.
    words = ["up", "--data", str(data), "--port", "0", "--nats-port", "0"]
    words += ["--schedulers", str(schedulers), "--separators", str(separators)]
    if models is not None:
        words += ["--models", str(models)]
    process = subprocess.Popen(
        command_line(*words),
        env=environment(data, settings),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    family: set[int] = set()
    with process:
        try:
            _wait_until_up(process)
            stack = RunningStack(process, data)
            yield stack
            family = stack.family()
            process.terminate()
            process.wait(STOP_SECONDS)
        finally:
            family |= _family(process.pid)
            process.kill()
            left = [pid for pid in family if not ends_within(pid, 0.0)]
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not left, f"processes left behind: {left}"


def _wait_until_up(process: subprocess.Popen[str]) -> None:
    """Read what it says until it says that it is up."""
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C" in line:
            return
    raise AssertionError("the stack did not come up: " + "".join(said))


def _family(pid: int) -> set[int]:
    found = {pid}
    for child in children_of(pid):
        found |= _family(child)
    return found


def _name_of(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        words = Path(f"/proc/{pid}/cmdline").read_text()
        return next((name for mark, name in _NAMES.items() if mark in words), "")
    return ""


def _is_engine(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return "services.separator.engine" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def _member_of(pid: int) -> str:
    name = _name_of(pid)
    if name in {"", "broker"}:
        return name
    with suppress(FileNotFoundError, ProcessLookupError):
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
        settings = dict(variable.partition("=")[::2] for variable in variables)
        return Path(settings.get("STEMBUS_SCRATCH_DIR", "")).name
    return ""


def listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            sockets.add(str(link.readlink()))
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    }


async def eventually(fact: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until ``fact`` holds, for things that nobody announces: processes, files."""
    deadline = monotonic() + seconds
    while not fact():
        assert monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(LOOK_SECONDS)
