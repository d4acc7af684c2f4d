"""What may be lost: ticks, progress and heartbeats.  Core NATS, never stored."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from shared.contracts.job import Phase
from shared.contracts.work import Stage
from shared.errors import Code


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


class Pause(Struct, frozen=True, kw_only=True):
    """A site that has refused us is left alone for a while."""

    #: The extractor's name, or the host where no extractor is known.
    site: str
    #: When it is asked again.
    until: datetime
    #: What it said last.
    code: Code


class Queue(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The order in which waiting jobs will be started; told whenever it changes.

    Positions move all the time, so they are told and not stored.
    """

    at: datetime
    #: Ids of waiting jobs, the next one first; at most ``QUEUE_LISTED`` of them.
    order: tuple[str, ...] = ()
    #: Jobs that wait for their turn: all, those held left out.
    waiting: int = 0
    #: Jobs that end per second, as measured lately; None until that can be told.
    rate: float | None = None
    #: Seconds from start to end of a job, as measured lately.
    run_seconds: float | None = None
    #: Why none of them can start, as far as something stands in the way.
    stalled: Code | None = None
    #: Stages of which no worker is there: what is processed stands still in them.
    absent: tuple[Stage, ...] = ()
    #: Why single ones can't start although it may be their turn.
    hindered: dict[str, Code] = {}
    #: Sites that are left alone.
    pauses: tuple[Pause, ...] = ()


#: Ids in one ``Queue``: at 64 characters each, a third of what the broker takes in one message.
QUEUE_LISTED = 5_000


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
    #: What a plan of this model says in its ``digest``; empty while that is not known.
    digest: str = ""


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
    #: Why it takes no work at the moment, although it lives: ``storage.low``.
    ailment: Code | None = None
    #: True in the last beat of an orderly stop.
    leaving: bool = False


#: A worker beats this often, and is taken for gone after this long without a beat.
BEAT_SECONDS = 2.0
GONE_SECONDS = 10.0
