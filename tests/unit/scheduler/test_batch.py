"""The life of a batch: every status and every stimulus, and how far its errands are."""

from __future__ import annotations

import typing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.scheduler.batch import (
    TABLE,
    BatchChanged,
    BatchDue,
    BatchRepeated,
    BatchStimulus,
    ErrandDone,
    advance_batch,
    errand_on,
    words_of,
)
from services.scheduler.decision import Refusal, RetryLimits, Stale
from shared.contracts.batch import MAX_ENTRIES, Batch, BatchStatus, Errand, entry_id
from shared.contracts.commands import (
    CancelBatch,
    CancelJob,
    CommandBase,
    RetryBatch,
    RetryJob,
    SubmitBatch,
    SubmitJob,
)
from shared.contracts.facts import Expanded, Failed
from shared.contracts.job import HEARD_LIMIT
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority, Terms
from shared.contracts.unit import Unit, UnitState
from shared.contracts.work import ExpandWork, Stage, StopOrder
from shared.errors import Code, RetryableError
from tests.support.batches import (
    BATCH,
    CANCEL,
    OF_STATUS,
    PLAYLIST,
    RETRY,
    ROOM,
    SKIPPED,
    called_off,
    expanded,
    expanding,
    live,
    submit_batch,
    submit_playlist,
    submitted,
    submitting,
    unread,
    unreadable,
)
from tests.support.jobs import LATER, NOW, RETRYABLE, TERMINAL, at

DUE, DONE = BatchDue(BATCH), ErrandDone(BATCH, 3)
EXAMPLES: dict[type, BatchStimulus] = {
    SubmitBatch: submit_batch(),
    CancelBatch: CANCEL,
    RetryBatch: RETRY,
    Expanded: expanded(),
    Failed: unreadable(),
    BatchDue: DUE,
    ErrandDone: DONE,
}
STATUSES: list[BatchStatus | None] = [None, *BatchStatus]
FULL = Problem.of(RetryableError(Code.QUEUE_FULL, "at most 1", retry_after=7.0))


def tell(batch: Batch | None, stimulus: BatchStimulus, room: int = ROOM, **more: object) -> object:
    return advance_batch(batch, stimulus, at(**more), room)  # type: ignore[arg-type] # as told


def expand_work(attempt: int = 1) -> ExpandWork:
    return ExpandWork(job_id=BATCH, attempt=attempt, playlist=PLAYLIST, limit=MAX_ENTRIES)


def test_the_table_has_a_row_for_every_status_and_nothing_else() -> None:
    assert set(STATUSES) == set(TABLE)
    assert set(EXAMPLES) == set(typing.get_args(BatchStimulus))
    assert {kind for row in TABLE.values() for kind in row} == set(EXAMPLES)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_pair_is_in_the_table_or_leads_nowhere(status: BatchStatus | None, kind: type) -> None:
    batch = OF_STATUS[status]() if status else None
    outcome = tell(batch, EXAMPLES[kind])
    if kind in TABLE[status]:
        return
    if issubclass(kind, CommandBase):
        assert isinstance(outcome, Refusal)
        code = Code.BATCH_WRONG_STATE if batch else Code.BATCH_NOT_FOUND
        assert code == outcome.problem.code
    else:
        assert isinstance(outcome, Stale)


@pytest.mark.parametrize(
    ("batch", "stimulus", "status", "errand"),
    [
        (None, submit_batch(), BatchStatus.EXPANDED, Errand.SUBMIT),
        (None, submit_playlist(), BatchStatus.EXPANDING, None),
        (expanding(), expanded(), BatchStatus.EXPANDED, Errand.SUBMIT),
        (expanding(), expanded(0), BatchStatus.FAILED, None),
        (expanding(), unreadable(), BatchStatus.EXPANDING, None),
        (expanding(), unreadable(problem=TERMINAL), BatchStatus.FAILED, None),
        (expanding(), CANCEL, BatchStatus.CANCELLED, None),
        (submitting(), ErrandDone(BATCH, 2), BatchStatus.EXPANDED, Errand.SUBMIT),
        (submitting(), DONE, BatchStatus.EXPANDED, None),
        (submitting(), CANCEL, BatchStatus.CANCELLED, Errand.CANCEL),
        (submitted(), CANCEL, BatchStatus.CANCELLED, Errand.CANCEL),
        (submitted(), RETRY, BatchStatus.EXPANDED, Errand.RETRY),
        (unread(), RETRY, BatchStatus.EXPANDING, None),
        (called_off(), RETRY, BatchStatus.EXPANDED, Errand.RETRY),
        (live(expanding(), CANCEL), RETRY, BatchStatus.EXPANDING, None),
        (live(submitted(), CANCEL), DONE, BatchStatus.CANCELLED, None),
    ],
)
def test_where_a_batch_goes(
    batch: Batch | None, stimulus: BatchStimulus, status: BatchStatus, errand: Errand | None
) -> None:
    after = live(batch, stimulus, now=LATER)
    assert (status, errand, LATER) == (after.status, after.errand, after.updated_at)


@pytest.mark.parametrize(
    ("batch", "stimulus"),
    [
        (expanding(), expanded(attempt=0)),
        (expanding(), expanded(attempt=2)),
        (expanding(), unreadable(2)),
        (live(expanding(), unreadable()), unreadable()),
        (live(expanding(), unreadable()), expanded()),
        (expanding(), DUE),
        (live(expanding(), unreadable()), DUE),
        (submitted(), DONE),
        (live(submitting(), ErrandDone(BATCH, 2)), ErrandDone(BATCH, 2)),
        (called_off(), DONE),
        (called_off(), expanded()),
    ],
)
def test_what_is_over_is_stale(batch: Batch, stimulus: BatchStimulus) -> None:
    assert isinstance(tell(batch, stimulus), Stale)


@pytest.mark.parametrize("batch", [expanding(), submitted(), unread(), called_off()])
def test_the_same_submission_again_is_the_same_batch_and_another_one_is_refused(
    batch: Batch,
) -> None:
    command = submit_playlist() if batch.playlist else submit_batch()
    again = tell(batch, replace(command, reply_to="b", answer_by=LATER), full=FULL)
    assert again == BatchRepeated(batch, words_of(batch))
    for other in (
        replace(command, options=Options(model="dsp")),
        replace(command, terms=Terms(owner="another")),
        submit_batch(2),
    ):
        outcome = tell(batch, other)
        assert isinstance(outcome, Refusal)
        assert outcome.problem.code == Code.JOB_EXISTS


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (submit_batch(0), Code.BATCH_EMPTY),
        (submit_batch(MAX_ENTRIES + 1), Code.BATCH_TOO_LONG),
    ],
)
def test_a_batch_of_nothing_or_of_too_much_is_refused(command: SubmitBatch, code: Code) -> None:
    outcome = tell(None, command)
    assert isinstance(outcome, Refusal)
    assert code == outcome.problem.code
    assert isinstance(tell(None, submit_batch(MAX_ENTRIES)), BatchChanged)


@pytest.mark.parametrize("command", [submit_batch(), submit_playlist()])
def test_a_batch_for_which_there_is_no_room_is_refused_while_nobody_was_told_yes(
    command: SubmitBatch,
) -> None:
    early, late = replace(command, answer_by=LATER), replace(command, answer_by=NOW)
    assert tell(None, early, full=FULL) == Refusal(FULL)
    for told in (late, command):
        assert isinstance(tell(None, told, full=FULL), BatchChanged)


@pytest.mark.parametrize(("room", "taken"), [(0, 0), (2, 2), (3, 3), (9, 3)])
def test_what_there_is_no_room_for_when_a_playlist_was_read_is_named(room: int, taken: int) -> None:
    outcome = tell(expanding(), replace(expanded(3), skipped=(SKIPPED,)), room)
    assert isinstance(outcome, BatchChanged)
    batch = outcome.batch
    assert taken == len(batch.entries)
    left_out = [(f"Song {number}", Code.QUEUE_FULL) for number in range(3)]
    assert [(SKIPPED.entry, Code.SOURCE_SCHEME), *left_out[taken:]] == [
        (skipped.entry, skipped.problem.code) for skipped in batch.skipped
    ]
    assert (batch.status is BatchStatus.FAILED) == (taken == 0)


def test_a_playlist_is_read_again_as_often_as_a_download_and_then_the_batch_fails() -> None:
    batch, limits = expanding(), RetryLimits()
    assert words_of(batch) == (expand_work(),)
    for attempt in range(1, limits.attempts[Stage.DOWNLOAD]):
        batch = live(batch, unreadable(attempt))
        assert (words_of(batch), batch.unit and batch.unit.failures) == ((), attempt)
        assert batch.unit is not None
        assert batch.unit.retry_at == NOW + timedelta(seconds=2 ** (attempt - 1))
        batch = live(batch, DUE, now=LATER)
        assert words_of(batch) == (expand_work(attempt + 1),)
    batch = live(batch, unreadable(limits.attempts[Stage.DOWNLOAD]))
    assert (batch.status, batch.error, words_of(batch)) == (BatchStatus.FAILED, RETRYABLE, ())


def test_a_retry_of_a_playlist_counts_attempts_on_and_failures_anew() -> None:
    batch = live(live(unread(), RETRY), unreadable(2))
    assert batch.unit == Unit(UnitState.WAITING, 2, 1, NOW + timedelta(seconds=1))
    assert live(unread(), RETRY).error is None


def test_a_cancel_while_a_playlist_is_read_stops_that() -> None:
    outcome = tell(expanding(), CANCEL)
    assert isinstance(outcome, BatchChanged)
    assert outcome.words == (StopOrder(job_id=BATCH),)
    assert (words_of(outcome.batch), outcome.batch.awaits("playlist", 1)) == ((), False)


TERMS = Terms(owner="anna", priority=Priority.LOW)


@pytest.mark.parametrize("errand", [None, *Errand])
@pytest.mark.parametrize("submitted_before", [0, 2, 3])
def test_what_an_errand_asks_of_each_entry(errand: Errand | None, submitted_before: int) -> None:
    batch = submitting()
    batch = replace(batch, errand=errand, submitted=submitted_before, terms=TERMS)
    for number in range(3):
        asked, made = errand_on(batch, number), number < submitted_before
        job_id = entry_id(BATCH, number)
        submit = SubmitJob(
            job_id=job_id,
            source=batch.entries[number].source,
            options=batch.options,
            terms=TERMS,
            batch=BATCH,
        )
        retry = RetryJob(job_id=job_id)
        expected: dict[Errand | None, tuple[object, ...]] = {
            None: (),
            Errand.SUBMIT: (submit,),
            Errand.CANCEL: (CancelJob(job_id=job_id),),
            Errand.RETRY: (retry,) if made else (submit, retry),
        }
        assert asked == expected[errand]


def test_how_far_an_errand_is_never_goes_back() -> None:
    batch = live(submitting(), ErrandDone(BATCH, 2))
    assert (batch.next, batch.submitted) == (2, 2)
    assert isinstance(tell(batch, ErrandDone(BATCH, 1)), Stale)
    assert (submitted().next, submitted().submitted, submitted().errand) == (0, 3, None)


@pytest.mark.parametrize("command", [CANCEL, RETRY], ids=lambda command: type(command).__name__)
def test_a_command_that_comes_again_does_not_undo_what_came_after_it(
    command: CancelBatch | RetryBatch,
) -> None:
    first = replace(command, reply_to="a")
    batch = live(submitted(), first)
    assert tell(batch, first) == BatchRepeated(batch, ())
    after = live(batch, replace(CANCEL if command is RETRY else RETRY, reply_to="b"))
    assert tell(after, first) == BatchRepeated(after, ())


def test_commands_that_are_remembered_are_bounded() -> None:
    batch = submitted()
    for turn in range(HEARD_LIMIT):
        for command in (CANCEL, RETRY):
            batch = live(batch, replace(command, reply_to=f"{turn}"))
    assert len(batch.heard) == HEARD_LIMIT
