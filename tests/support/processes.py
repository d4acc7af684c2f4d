"""What the kernel knows of processes: who has which children, and when one is gone."""

from __future__ import annotations

import os
import select
from pathlib import Path


def children_of(pid: int) -> set[int]:
    """Process ids of the direct children of ``pid``."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for children in lists for child in children.read_text().split()}


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
