"""How far one unit of work is, as the scheduler knows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class UnitState(StrEnum):
    """Where a unit stands."""

    ORDERED = "ordered"
    #: It failed and will be ordered again at ``retry_at``.
    WAITING = "waiting"
    DONE = "done"


class Unit(Struct, frozen=True, array_like=True):
    """One unit of work: a download, a preparation, a chunk, a finalization, a playlist."""

    state: UnitState
    #: The attempt whose fact is or was accepted; facts of any other are stale.
    attempt: int
    #: Failures since its job was last started or retried by a client.
    failures: int = 0
    retry_at: datetime | None = None
