"""The workers there are, as their heartbeats tell, and how fast they have been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.contracts.live import GONE_SECONDS
from shared.contracts.work import Stage

if TYPE_CHECKING:
    from shared.contracts.live import Beat, ModelOffer
    from shared.errors import Code

#: Weight of the newest measurement in a running mean.
NEWEST_WEIGHT: Final = 0.3


class Fleet:
    """Workers by id; one whose heart has stopped is left out, and forgotten."""

    def __init__(self) -> None:
        self._beats: dict[str, tuple[float, Beat]] = {}
        self._finalization: float | None = None

    def heard(self, beat: Beat, now: float) -> None:
        """Take in a heartbeat at ``now`` (seconds of any steady clock)."""
        key = f"{beat.stage}.{beat.worker}"
        if beat.leaving:
            self._beats.pop(key, None)
        else:
            self._beats[key] = (now, beat)
        for gone in [key for key, (at, _) in self._beats.items() if at + GONE_SECONDS < now]:
            del self._beats[gone]

    def slots(self, stage: Stage, now: float) -> int:
        """Slots of all workers of a stage that are alive at ``now``."""
        return sum(
            beat.slots
            for at, beat in self._beats.values()
            if beat.stage is stage and at + GONE_SECONDS >= now
        )

    def absent(self, now: float) -> tuple[Stage, ...]:
        """Stages of which no worker is alive."""
        alive = {beat.stage for at, beat in self._beats.values() if at + GONE_SECONDS >= now}
        return tuple(stage for stage in Stage if stage not in alive)

    def ailment(self, stage: Stage, now: float) -> Code | None:
        """Why a stage's living workers take nothing; None if one does, or none lives."""
        alive = [
            beat
            for at, beat in self._beats.values()
            if beat.stage is stage and at + GONE_SECONDS >= now
        ]
        if any(beat.slots for beat in alive):
            return None
        return next((beat.ailment for beat in alive if beat.ailment), None)

    def offers(self, now: float) -> dict[str, list[ModelOffer]]:
        """What every separator that is alive says of each model, by name."""
        offers: dict[str, list[ModelOffer]] = {}
        for at, beat in self._beats.values():
            if at + GONE_SECONDS >= now:
                for offer in beat.models:
                    offers.setdefault(offer.name, []).append(offer)
        return offers

    def separation_speed(self, model: str) -> float | None:
        """Mean measured speed of one slot with this model, in seconds of audio per second."""
        speeds = [beat.speeds[model] for _, beat in self._beats.values() if model in beat.speeds]
        return sum(speeds) / len(speeds) if speeds else None

    def finalized(self, seconds: float, elapsed: float) -> None:
        """A finalization of ``seconds`` of audio took ``elapsed`` seconds."""
        if elapsed > 0:
            speed = seconds / elapsed
            old = self._finalization
            self._finalization = speed if old is None else old + NEWEST_WEIGHT * (speed - old)

    @property
    def finalization_speed(self) -> float | None:
        """Measured speed of finalization, in seconds of audio per second."""
        return self._finalization
