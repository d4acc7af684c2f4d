"""What processes cost: CPU seconds and memory, as the kernel counts them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.processes import children_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
#: Fields of /proc/<pid>/stat after the command's name: user and system time, in ticks.
_USER, _SYSTEM = 11, 12
#: A process that uses less of a core than this share for so long is idle.
_IDLE_SHARE: Final = 0.15
_LOOK_SECONDS: Final = 0.5


def family_of(pids: Iterable[int]) -> set[int]:
    """These processes and all that descend from them."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children_of(pid) - found
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that processes have used since they started.

    What a child used that has ended is not in it: measure while the children live.
    """
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / _TICKS_A_SECOND


async def until_idle(pid: int) -> None:
    """Wait until a process has nothing to do: what it does in the background is done."""
    before = cpu_seconds([pid])
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = cpu_seconds([pid])
        if now - before < _IDLE_SHARE * _LOOK_SECONDS:
            return
        before = now


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmRSS")
