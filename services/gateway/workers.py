"""The workers there are, by their heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared.contracts.live import GONE_SECONDS, Beat
from shared.contracts.work import Stage
from shared.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker(Struct, frozen=True, kw_only=True):
    """One worker of one stage, as ``GET /v1/stats`` shows it."""

    worker: str
    stage: Stage
    slots: int
    busy: int
    device: str
    speeds: dict[str, float]
    ailment: Code | None
    seen_seconds_ago: float


class Workers:
    """Who has been heard lately."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._heard: dict[tuple[Stage, str], tuple[float, Beat]] = {}

    def heard(self, beat: Beat) -> None:
        """Take in a heartbeat; the last one of an orderly stop is a goodbye."""
        now = self._steady()
        self._heard[beat.stage, beat.worker] = (now, beat)
        self._heard = {
            key: (at, known)
            for key, (at, known) in self._heard.items()
            if not known.leaving and at + GONE_SECONDS >= now
        }

    def there(self) -> list[Worker]:
        """Those who are there now, by stage and name."""
        now = self._steady()
        return [
            Worker(
                worker=beat.worker,
                stage=beat.stage,
                slots=beat.slots,
                busy=beat.busy,
                device=beat.device,
                speeds=beat.speeds,
                ailment=beat.ailment,
                seen_seconds_ago=round(now - at, 1),
            )
            for _, (at, beat) in sorted(self._heard.items())
            if at + GONE_SECONDS >= now
        ]
