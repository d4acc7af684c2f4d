"""Commands: what clients ask of the scheduler, and its answers."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec
from msgspec import Struct

from shared.contracts.batch import BatchSnapshot, Entry, Skipped
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority, Source, Terms
from shared.contracts.snapshot import Snapshot


class CommandBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Imperative; stored durably before anyone says yes to the client."""

    #: The job it is about; of a batch's command, the batch.
    job_id: str
    #: The core NATS subject on which the gateway waits for the answer; empty when nobody does.
    reply_to: str = ""


class SubmitJob(CommandBase, frozen=True, kw_only=True, tag="submit"):
    """Take this job in."""

    source: Source
    options: Options
    terms: Terms = Terms()
    #: The batch it belongs to.
    batch: str | None = None
    #: From then on the client may have been told that it is accepted: no refusal for want of
    #: room any more.
    answer_by: datetime | None = None
    traceparent: str | None = None


class CancelJob(CommandBase, frozen=True, kw_only=True, tag="cancel"):
    """End this job, whatever it is at."""


class RetryJob(CommandBase, frozen=True, kw_only=True, tag="retry"):
    """Take up a failed or cancelled job at the phase it had reached."""


class DeleteJob(CommandBase, frozen=True, kw_only=True, tag="delete"):
    """Forget a job that has ended, and remove its files."""


class HoldJob(CommandBase, frozen=True, kw_only=True, tag="hold"):
    """Don't start this waiting job until it is released."""


class ReleaseJob(CommandBase, frozen=True, kw_only=True, tag="release"):
    """It may start again."""


class FrontJob(CommandBase, frozen=True, kw_only=True, tag="front"):
    """Start this waiting job before all others."""


class PrioritizeJob(CommandBase, frozen=True, kw_only=True, tag="prioritize"):
    """Give a waiting job another priority."""

    priority: Priority


class SubmitBatch(CommandBase, frozen=True, kw_only=True, tag="submit_batch"):
    """Take in many jobs at once: these entries, or those of a playlist."""

    options: Options
    terms: Terms = Terms()
    #: Address of a playlist, to be expanded by a downloader; there are no entries then.
    playlist: str | None = None
    entries: tuple[Entry, ...] = ()
    #: What was asked for and can't be taken, and why.
    skipped: tuple[Skipped, ...] = ()
    answer_by: datetime | None = None
    traceparent: str | None = None


class CancelBatch(CommandBase, frozen=True, kw_only=True, tag="cancel_batch"):
    """End every job of this batch that has not ended."""


class RetryBatch(CommandBase, frozen=True, kw_only=True, tag="retry_batch"):
    """Take up every job of this batch that has failed or was cancelled."""


JobCommand = (
    SubmitJob | CancelJob | RetryJob | DeleteJob | HoldJob | ReleaseJob | FrontJob | PrioritizeJob
)
BatchCommand = SubmitBatch | CancelBatch | RetryBatch
Command = JobCommand | BatchCommand


def digest_of(command: SubmitJob | SubmitBatch) -> str:
    """What tells a repeated submission from another one with the same id: a hash of the request.

    What the gateway has added of an upload is no part of it: by the time that the submission comes
    again, the upload may be gone.
    """
    request = msgspec.structs.replace(command, reply_to="", answer_by=None, traceparent=None)
    if isinstance(request, SubmitJob):
        request = msgspec.structs.replace(request, source=_as_asked(request.source))
    else:
        entries = tuple(
            msgspec.structs.replace(entry, source=_as_asked(entry.source))
            for entry in request.entries
        )
        request = msgspec.structs.replace(request, entries=entries)
    return hashlib.blake2b(msgspec.json.encode(request), digest_size=16).hexdigest()


def _as_asked(source: Source) -> Source:
    return msgspec.structs.replace(source, digest=None, name=None)


class Accepted(Struct, frozen=True, kw_only=True, tag_field="type", tag="accepted"):
    """The command took effect and is stored; this is the job now."""

    job: Snapshot
    #: Whether it had taken effect before: a submission that came again.
    repeated: bool = False


class AcceptedBatch(Struct, frozen=True, kw_only=True, tag_field="type", tag="accepted_batch"):
    """The command took effect and is stored; this is the batch now."""

    batch: BatchSnapshot
    repeated: bool = False


class Refused(Struct, frozen=True, kw_only=True, tag_field="type", tag="refused"):
    """The command had no effect."""

    problem: Problem


Answer = Accepted | AcceptedBatch | Refused


class Reply(Struct, frozen=True, kw_only=True):
    """An answer on its way to whoever waits for it; lost if nobody does any more."""

    to: str
    answer: Answer
