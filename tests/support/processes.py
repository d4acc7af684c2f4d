"""What the kernel knows of processes: who has which children, and when one is gone."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> set[int]:
    """Process ids of the direct children of ``pid``; none of one that has ended.

    The kernel keeps a list for each thread. A thread that ends meanwhile leaves its children to
    another, whose list may have been read already: then all are read again.
    """
    while True:
        with suppress(FileNotFoundError, ProcessLookupError):
            lists = [thread / "children" for thread in Path(f"/proc/{pid}/task").iterdir()]
            return {int(child) for children in lists for child in children.read_text().split()}
        if not Path(f"/proc/{pid}").exists():
            return set()


def ends_within(pid: int, seconds: float) -> bool:
    """Wait until process ``pid`` has ended; False if it still runs after ``seconds``."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


def freeze(pid: int) -> None:
    """SIGSTOP; returns when none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_state(thread) in "tTZX" for thread in Path(f"/proc/{pid}/task").iterdir()):
        os.sched_yield()


def thaw(pid: int) -> None:
    """SIGCONT; one that has ended meanwhile is left in peace."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has held since its program began (VmHWM)."""
    return _status_bytes(pid, "VmHWM:")


def held_bytes(pid: int) -> int:
    """The memory that a process holds (VmRSS)."""
    return _status_bytes(pid, "VmRSS:")


def _status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith(field)]
    return int(kib) << 10


def _state(thread: Path) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    return "X"
