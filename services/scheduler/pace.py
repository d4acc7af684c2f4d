"""How fast jobs leave: what a queue's length means in seconds."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

#: Ends that are remembered, and for how long: long enough to be steady, short enough to be news.
REMEMBERED: Final = 64
MEMORY_SECONDS: Final = 900.0
#: Weight of the newest in the running mean of run times.
NEWEST_WEIGHT: Final = 0.2
#: The shortest and the longest wait that a client is asked for, and what while nothing is known.
SHORTEST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 3600.0
UNKNOWN_WAIT: Final = 30.0


class Pace:
    """The ends of jobs, as seconds of a steady clock."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=REMEMBERED)
        self._run_seconds: float | None = None

    def ended(self, now: float, run_seconds: float | None) -> None:
        """A job has ended, after running for so long (None: it never ran)."""
        if run_seconds is None:
            return
        self._ends.append(now)
        old = self._run_seconds
        self._run_seconds = (
            run_seconds if old is None else old + NEWEST_WEIGHT * (run_seconds - old)
        )

    @property
    def run_seconds(self) -> float | None:
        """Seconds from start to end of a job, as a running mean."""
        return self._run_seconds

    def rate(self, now: float) -> float | None:
        """Jobs that end per second; None while fewer than two ends are known.

        A long time without any makes it less: nothing is faster than what has not come yet.
        """
        recent = [end for end in self._ends if now - end <= MEMORY_SECONDS]
        if len(recent) < 2:  # noqa: PLR2004 - one end makes no rate
            return None
        between = recent[-1] - recent[0]
        mean = between / (len(recent) - 1)
        waited = max(0.0, now - recent[-1] - mean)
        return (len(recent) - 1) / max(between + waited, 1e-3)

    def wait_for(self, places: int, now: float) -> float:
        """Seconds until so many jobs have left: what Retry-After says."""
        rate = self.rate(now)
        if rate is None:
            return UNKNOWN_WAIT
        return float(math.ceil(min(max(places / rate, SHORTEST_WAIT), LONGEST_WAIT)))
