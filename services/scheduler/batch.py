"""The life of a batch: a playlist is read, then its jobs are made, one after the other.

Pure, as ``core`` is for jobs.  What happens to a batch's jobs is an errand: it goes from entry to
entry, and the record says how far it is, so that it goes on wherever it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from services.scheduler.decision import Circumstances, Refusal, Stale
from services.scheduler.rules.asking import may_refuse
from services.scheduler.rules.record import pause, refuse
from shared.contracts.batch import MAX_ENTRIES, Batch, BatchStatus, Errand, Skipped, entry_id
from shared.contracts.commands import (
    BatchCommand,
    CancelBatch,
    CancelJob,
    CommandBase,
    RetryBatch,
    RetryJob,
    SubmitBatch,
    SubmitJob,
    digest_of,
)
from shared.contracts.facts import Expanded, Failed
from shared.contracts.job import HEARD_LIMIT
from shared.contracts.problem import Problem
from shared.contracts.subjects import id_of
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import ExpandWork, Stage, StopOrder, Word
from shared.errors import Code, TerminalError

#: Entries that an errand handles in one turn: other messages have theirs in between.
STRIDE: Final = 10


class BatchDue(Struct, frozen=True):
    """The time has come to read its playlist again."""

    job_id: str


class ErrandDone(Struct, frozen=True):
    """What the errand does has been done to the entries before ``next``, and the words said."""

    job_id: str
    next: int


class ErrandTurn(Struct, frozen=True):
    """It is the turn of a batch's errand."""

    job_id: str


class BatchExpired(Struct, frozen=True):
    """Nothing is left of this batch."""

    job_id: str


class BatchChanged(NamedTuple):
    """Store ``batch``, then say ``words``."""

    batch: Batch
    words: tuple[Word, ...] = ()


class BatchRepeated(NamedTuple):
    """It took effect before: say its words again."""

    batch: Batch
    words: tuple[Word, ...] = ()


BatchStimulus = BatchCommand | Expanded | Failed | BatchDue | ErrandDone
BatchOutcome = BatchChanged | BatchRepeated | Stale | Refusal


def advance_batch(
    batch: Batch | None, stimulus: BatchStimulus, at: Circumstances, room: int
) -> BatchOutcome:
    """What becomes of ``batch`` on ``stimulus``; ``room``: jobs that may still be taken in."""
    if isinstance(stimulus, CommandBase) and batch and id_of(stimulus) in batch.heard:
        return BatchRepeated(batch, words_of(batch))
    rule = TABLE[batch.status if batch else None].get(type(stimulus))
    if rule is not None:
        return _heard(rule(batch, stimulus, at, room), stimulus)
    if not isinstance(stimulus, CommandBase):
        return Stale(f"{type(stimulus).__name__} for a batch that is {batch and batch.status}")
    if batch is None:
        return refuse(Code.BATCH_NOT_FOUND, stimulus.job_id)
    return refuse(Code.BATCH_WRONG_STATE, f"the batch is {batch.status}")


def words_of(batch: Batch) -> tuple[Word, ...]:
    """What is to be said of a batch as it is; saying it again changes nothing."""
    unit = batch.unit
    if batch.status is not BatchStatus.EXPANDING or unit is None or batch.playlist is None:
        return ()
    if unit.state is not UnitState.ORDERED:
        return ()
    work = ExpandWork(
        job_id=batch.id, attempt=unit.attempt, playlist=batch.playlist, limit=MAX_ENTRIES
    )
    return (work,)


def errand_on(batch: Batch, number: int) -> tuple[SubmitJob | CancelJob | RetryJob, ...]:
    """What the batch's errand asks of one entry's job, one after the other.

    A job may have been made although the record does not know it yet: an errand was cut off.
    """
    job_id = entry_id(batch.id, number)
    submit = SubmitJob(
        job_id=job_id,
        source=batch.entries[number].source,
        options=batch.options,
        terms=batch.terms,
        batch=batch.id,
        traceparent=batch.traceparent,
    )
    match batch.errand:
        case Errand.SUBMIT:
            return (submit,)
        case Errand.CANCEL:
            return (CancelJob(job_id=job_id),)
        case Errand.RETRY:
            retry = RetryJob(job_id=job_id)
            # One that was made and is not there any more was deleted, and stays so.
            return (retry,) if number < batch.submitted else (submit, retry)
        case None:
            return ()


def _heard(outcome: BatchOutcome, stimulus: BatchStimulus) -> BatchOutcome:
    if not isinstance(outcome, BatchChanged) or not isinstance(stimulus, (CancelBatch, RetryBatch)):
        return outcome
    heard = (*outcome.batch.heard, id_of(stimulus))[-HEARD_LIMIT:]
    return outcome._replace(batch=replace(outcome.batch, heard=heard))


def _submit(_: None, command: SubmitBatch, at: Circumstances, room: int) -> BatchOutcome:
    if command.playlist is None and not command.entries:
        return refuse(Code.BATCH_EMPTY, command.job_id)
    if len(command.entries) > MAX_ENTRIES:
        return refuse(Code.BATCH_TOO_LONG, f"at most {MAX_ENTRIES}")
    if at.full is not None and may_refuse(command.answer_by, at):
        return Refusal(at.full)
    del room  # it counts when the entries are known, and they were in at.full
    batch = Batch(
        id=command.job_id,
        status=BatchStatus.EXPANDING if command.playlist else BatchStatus.EXPANDED,
        options=command.options,
        terms=command.terms,
        created_at=at.now,
        updated_at=at.now,
        playlist=command.playlist,
        entries=() if command.playlist else command.entries,
        skipped=command.skipped,
        request=digest_of(command),
        traceparent=command.traceparent,
    )
    return _reading(batch, at) if command.playlist else _running(batch, Errand.SUBMIT, at)


def _submit_again(batch: Batch, command: SubmitBatch, *_: object) -> BatchOutcome:
    if batch.request == digest_of(command):
        return BatchRepeated(batch, words_of(batch))
    return refuse(Code.JOB_EXISTS, batch.id)


def _expanded(batch: Batch, fact: Expanded, at: Circumstances, room: int) -> BatchOutcome:
    if not batch.awaits(fact.unit, fact.attempt):
        return Stale("not the attempt that is awaited")
    entries = fact.entries[: min(room, MAX_ENTRIES)]
    full = Problem.of(TerminalError(Code.QUEUE_FULL, "when the playlist had been read"))
    left_out = tuple(
        Skipped(entry=entry.title or entry.source.url or "", problem=full)
        for entry in fact.entries[len(entries) :]
    )
    batch = replace(
        batch,
        entries=entries,
        skipped=(*batch.skipped, *fact.skipped, *left_out),
        title=fact.title,
        unit=Unit(UnitState.DONE, fact.attempt),
        updated_at=at.now,
    )
    if not entries:
        problem = Problem.of(TerminalError(Code.BATCH_EMPTY, batch.playlist or ""))
        return BatchChanged(replace(batch, status=BatchStatus.FAILED, error=problem))
    return _running(batch, Errand.SUBMIT, at)


def _failed(batch: Batch, fact: Failed, at: Circumstances, _: int) -> BatchOutcome:
    if not batch.awaits(fact.unit, fact.attempt) or batch.unit is None:
        return Stale("not the attempt that is awaited")
    failures = batch.unit.failures + 1
    if fact.problem.retryable and failures < at.retries.attempts[Stage.DOWNLOAD]:
        retry_at = at.now + pause(failures, fact.problem, at)
        unit = Unit(UnitState.WAITING, fact.attempt, failures, retry_at)
        return BatchChanged(replace(batch, unit=unit, updated_at=at.now))
    unit = Unit(UnitState.WAITING, fact.attempt, failures)
    return BatchChanged(
        replace(batch, status=BatchStatus.FAILED, unit=unit, error=fact.problem, updated_at=at.now)
    )


def _due(batch: Batch, _: BatchDue, at: Circumstances, __: int) -> BatchOutcome:
    unit = batch.unit
    if unit is None or unit.retry_at is None or unit.retry_at > at.now:
        return Stale("nothing is due")
    return _reading(batch, at)


def _cancel(batch: Batch, _: CancelBatch, at: Circumstances, __: int) -> BatchOutcome:
    cancelled = _running(replace(batch, status=BatchStatus.CANCELLED), Errand.CANCEL, at).batch
    return BatchChanged(cancelled, (StopOrder(job_id=batch.id),) if batch.playlist else ())


def _cancel_again(batch: Batch, *_: object) -> BatchOutcome:
    return BatchRepeated(batch)


def _retry(batch: Batch, _: RetryBatch, at: Circumstances, __: int) -> BatchOutcome:
    batch = replace(batch, error=None)
    if not batch.entries:
        return _reading(replace(batch, skipped=()), at)
    return _running(replace(batch, status=BatchStatus.EXPANDED), Errand.RETRY, at)


def _errand_done(batch: Batch, done: ErrandDone, at: Circumstances, _: int) -> BatchOutcome:
    if batch.errand is None or done.next <= batch.next:
        return Stale("it is further by now")
    submitted = batch.submitted
    if batch.errand is not Errand.CANCEL:
        submitted = max(submitted, done.next)
    ended = done.next >= len(batch.entries)
    return BatchChanged(
        replace(
            batch,
            submitted=submitted,
            errand=None if ended else batch.errand,
            next=0 if ended else done.next,
            updated_at=at.now,
        )
    )


def _reading(batch: Batch, at: Circumstances) -> BatchChanged:
    known = batch.unit or Unit(UnitState.WAITING, 0)
    batch = replace(
        batch,
        status=BatchStatus.EXPANDING,
        unit=Unit(UnitState.ORDERED, known.attempt + 1, known.failures if known.retry_at else 0),
        updated_at=at.now,
    )
    return BatchChanged(batch, words_of(batch))


def _running(batch: Batch, errand: Errand, at: Circumstances) -> BatchChanged:
    started = errand if batch.entries else None
    status = BatchStatus.EXPANDED if errand is Errand.SUBMIT else batch.status
    return BatchChanged(replace(batch, status=status, errand=started, next=0, updated_at=at.now))


#: ``{status: {stimulus: rule}}``; None is "no such batch".
TABLE: Final[Mapping[BatchStatus | None, Mapping[type, Callable[..., BatchOutcome]]]] = (
    MappingProxyType(
        {
            None: {SubmitBatch: _submit},
            BatchStatus.EXPANDING: {
                SubmitBatch: _submit_again,
                Expanded: _expanded,
                Failed: _failed,
                BatchDue: _due,
                CancelBatch: _cancel,
            },
            BatchStatus.EXPANDED: {
                SubmitBatch: _submit_again,
                CancelBatch: _cancel,
                RetryBatch: _retry,
                ErrandDone: _errand_done,
            },
            BatchStatus.FAILED: {SubmitBatch: _submit_again, RetryBatch: _retry},
            BatchStatus.CANCELLED: {
                SubmitBatch: _submit_again,
                CancelBatch: _cancel_again,
                RetryBatch: _retry,
                ErrandDone: _errand_done,
            },
        }
    )
)
