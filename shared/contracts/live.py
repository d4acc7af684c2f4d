"""What may be lost: ticks, progress and heartbeats.  Core NATS, never stored."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from shared.contracts.job import Phase
from shared.contracts.work import Stage


class Activity(StrEnum):
    """What a worker is doing right now, finer than the phase."""

    FETCHING = "fetching"
    DECODING = "decoding"
    STORING = "storing"
    FETCHING_WEIGHTS = "fetching_weights"
    LOADING_MODEL = "loading_model"
    SEPARATING = "separating"
    ENCODING = "encoding"


class Tick(Struct, frozen=True, kw_only=True):
    """A worker's report on one unit of work.  Losing one harms nobody."""

    job_id: str
    stage: Stage
    unit: str
    attempt: int
    activity: Activity
    #: Share of the unit that is done, 0 to 1; None where the total is unknown.
    fraction: float | None = None
    #: For people: ``3.1 of 8.4 MB``.
    note: str = ""


class Progress(Struct, frozen=True, kw_only=True):
    """What the scheduler makes of the ticks: the job's overall progress, for the gateways."""

    job_id: str
    phase: Phase
    #: 0 to 100; never goes backwards.
    progress: float
    activity: Activity
    note: str = ""
    eta: datetime | None = None


class ModelOffer(Struct, frozen=True, kw_only=True):
    """A model that a separator can run."""

    name: str
    #: What it separates into, in the model's order; ``instrumental`` can always be derived.
    #: Empty while nobody has looked into a local package.
    sources: tuple[str, ...]
    #: Whether its weights are on the worker's disk, or need none.
    ready: bool
    #: Where it comes from, for people: ``published``, ``local``, ``built-in``.
    origin: str = ""


class Beat(Struct, frozen=True, kw_only=True):
    """A worker's sign of life, every ``BEAT_SECONDS``."""

    worker: str
    stage: Stage
    slots: int
    busy: int
    device: str = "cpu"
    #: Seconds of audio per second of wall time and slot, by model; measured, newest first.
    speeds: dict[str, float] = {}
    models: tuple[ModelOffer, ...] = ()
    #: True in the last beat of an orderly stop.
    leaving: bool = False


#: A worker beats this often, and is taken for gone after this long without a beat.
BEAT_SECONDS = 2.0
GONE_SECONDS = 10.0
