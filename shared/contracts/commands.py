"""Commands: what clients ask of the scheduler, and its answers."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source
from shared.contracts.snapshot import Snapshot


class CommandBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Imperative; stored durably before anyone says yes to the client."""

    job_id: str
    #: The core NATS subject on which the gateway waits for the answer; empty when nobody does.
    reply_to: str = ""


class SubmitJob(CommandBase, frozen=True, kw_only=True, tag="submit"):
    """Take this job in."""

    source: Source
    options: Options
    run_at: datetime | None = None
    traceparent: str | None = None


class CancelJob(CommandBase, frozen=True, kw_only=True, tag="cancel"):
    """End this job, whatever it is at."""


class RetryJob(CommandBase, frozen=True, kw_only=True, tag="retry"):
    """Take up a failed or cancelled job at the phase it had reached."""


Command = SubmitJob | CancelJob | RetryJob


class Accepted(Struct, frozen=True, kw_only=True, tag_field="type", tag="accepted"):
    """The command took effect and is stored; this is the job now."""

    job: Snapshot


class Refused(Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """The command had no effect."""

    problem: Problem


Answer = Accepted | Refused


class Reply(Struct, frozen=True, kw_only=True):
    """An answer on its way to whoever waits for it; lost if nobody does any more."""

    to: str
    answer: Answer
