"""What is on the wire and on the disk today must be readable tomorrow.

``STEMBUS_GOLDEN=write`` writes the files anew; look at the difference before it is committed.
"""

from __future__ import annotations

import os
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from services.scheduler.batch import words_of
from shared.contracts.audio import AudioFormat
from shared.contracts.batch import Batch, BatchSnapshot, batch_snapshot
from shared.contracts.codec import Decoder, encode
from shared.contracts.commands import (
    Accepted,
    AcceptedBatch,
    Answer,
    CancelBatch,
    CancelJob,
    Command,
    DeleteJob,
    FrontJob,
    HoldJob,
    PrioritizeJob,
    Refused,
    ReleaseJob,
    RetryBatch,
    RetryJob,
)
from shared.contracts.facts import Fact
from shared.contracts.job import Job, Phase
from shared.contracts.live import Activity, Beat, ModelOffer, Pause, Progress, Queue, Tick
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Priority, Source, Terms, Upload
from shared.contracts.snapshot import Snapshot, snapshot
from shared.contracts.subjects import Message
from shared.contracts.work import RemoveWork, Stage, StopOrder, SweepWork, Work
from shared.errors import Code, RetryableError, TerminalError
from tests.support import batches, jobs, twins
from tests.support.jobs import JOB, LATER, NOW

GOLDEN = Path(__file__).parent / "golden"

FULL = RetryableError(Code.QUEUE_FULL, "at most 10000", retry_after=42.0)
TERMS = Terms(
    owner="anna", priority=Priority.HIGH, run_at=LATER, deadline=LATER + timedelta(hours=1)
)
SUBMIT = replace(
    jobs.submit(reply_to="_INBOX.a.1"),
    terms=TERMS,
    batch="b1",
    answer_by=LATER,
    source=Source(upload="0123abcd", digest="9f86d081", name="a song.mp3"),
    options=Options(model="htdemucs_ft", stems=("vocals", "instrumental"), format=AudioFormat.MP3),
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
FACT = {"worker": "separator-1", "elapsed": 2.5}

#: By file name: a message, and what reads it.
EXAMPLES: dict[str, tuple[Any, Any]] = {
    "submit": (SUBMIT, Command),
    "cancel": (CancelJob(job_id=JOB, reply_to="_INBOX.a.2"), Command),
    "retry": (RetryJob(job_id=JOB, reply_to="_INBOX.a.3"), Command),
    "delete": (DeleteJob(job_id=JOB, reply_to="_INBOX.a.4"), Command),
    "hold": (HoldJob(job_id=JOB, reply_to="_INBOX.a.5"), Command),
    "release": (ReleaseJob(job_id=JOB, reply_to="_INBOX.a.6"), Command),
    "front": (FrontJob(job_id=JOB, reply_to="_INBOX.a.7"), Command),
    "prioritize": (
        PrioritizeJob(job_id=JOB, priority=Priority.LOW, reply_to="_INBOX.a.8"),
        Command,
    ),
    "submit-batch": (
        batches.submit_batch(
            2,
            terms=TERMS,
            skipped=(batches.SKIPPED,),
            answer_by=LATER,
            reply_to="_INBOX.a.9",
        ),
        Command,
    ),
    "submit-playlist": (batches.submit_playlist(reply_to="_INBOX.a.10"), Command),
    "cancel-batch": (CancelBatch(job_id="b1", reply_to="_INBOX.a.11"), Command),
    "retry-batch": (RetryBatch(job_id="b1", reply_to="_INBOX.a.12"), Command),
    "accepted": (Accepted(job=snapshot(jobs.pending())), Answer),
    "accepted-batch": (
        AcceptedBatch(batch=batch_snapshot(batches.submitting()), repeated=True),
        Answer,
    ),
    "refused-for-now": (Refused(problem=Problem.of(FULL)), Answer),
    "refused": (
        Refused(problem=Problem.of(TerminalError(Code.JOB_NOT_FOUND, JOB))),
        Answer,
    ),
    "downloaded": (replace(jobs.downloaded(), **FACT), Fact),
    "prepared": (replace(jobs.prepared(), **FACT), Fact),
    "separated": (replace(jobs.separated(), device="cuda", **FACT), Fact),
    "finalized": (replace(jobs.finalized(), **FACT), Fact),
    "failed": (replace(jobs.failed(Stage.SEPARATE, "0", 2), **FACT), Fact),
    "failed-site": (
        replace(jobs.failed(Stage.DOWNLOAD, "source"), site="youtube", **FACT),
        Fact,
    ),
    "expanded": (
        replace(batches.expanded(2), skipped=(batches.SKIPPED,), **FACT),
        Fact,
    ),
    "work-expand": (words_of(batches.expanding())[0], Work),
    "work-remove": (
        RemoveWork(job_id=JOB, attempt=2, before=LATER, run="j2", track="t1", result="r1"),
        Work,
    ),
    "work-download": (jobs.downloading().outbox[0], Work),
    "work-prepare": (jobs.preparing().outbox[0], Work),
    "work-separate": (jobs.separating().outbox[0], Work),
    "work-finalize": (jobs.finalizing().outbox[0], Work),
    "work-sweep": (SweepWork(job_id=JOB, attempt=2, run="j2"), Work),
    "stop": (StopOrder(job_id=JOB), StopOrder),
    "tick": (
        Tick(
            job_id=JOB,
            stage=Stage.DOWNLOAD,
            unit="source",
            attempt=1,
            activity=Activity.FETCHING,
            fraction=0.25,
            note="2.1 of 8.4 MB",
        ),
        Tick,
    ),
    "progress": (
        Progress(
            job_id=JOB,
            phase=Phase.SEPARATION,
            progress=42.5,
            activity=Activity.SEPARATING,
            note="chunk 2 of 3",
            eta=LATER,
        ),
        Progress,
    ),
    "beat": (
        Beat(
            worker="separator-1",
            stage=Stage.SEPARATE,
            slots=2,
            busy=1,
            device="cuda",
            speeds={"htdemucs": 21.5},
            models=(
                ModelOffer(
                    name="dsp", sources=("vocals",), ready=True, origin="built-in", digest="d1"
                ),
            ),
        ),
        Beat,
    ),
    "beat-ailing": (
        Beat(worker="d1", stage=Stage.DOWNLOAD, slots=0, busy=0, ailment=Code.STORAGE_LOW),
        Beat,
    ),
    "queue": (
        Queue(
            at=NOW,
            order=("j1", "j2"),
            waiting=2,
            rate=0.25,
            run_seconds=61.5,
            stalled=Code.SERVICE_NO_WORKERS,
            absent=(Stage.DOWNLOAD,),
            hindered={"j2": Code.SOURCE_SITE_PAUSED},
            pauses=(Pause(site="youtube", until=LATER, code=Code.SOURCE_RATE_LIMITED),),
        ),
        Queue,
    ),
    "upload": (Upload(filename="a song.mp3", bytes=123, digest="9f86d081"), Upload),
    "job-pending": (jobs.pending(), Job),
    "job-scheduled": (jobs.scheduled(), Job),
    "job-processing": (
        jobs.live(jobs.separating(1), jobs.failed(Stage.SEPARATE, "1")),
        Job,
    ),
    "job-held": (
        jobs.live(
            None,
            SUBMIT,
            HoldJob(job_id=JOB, reply_to="_INBOX.a.5"),
            FrontJob(job_id=JOB, reply_to="_INBOX.a.7"),
        ),
        Job,
    ),
    "job-completed": (jobs.completed(), Job),
    "job-failed": (jobs.broken(), Job),
    "job-cancelled": (jobs.cancelled(), Job),
    "job-following": (twins.follower(), Job),
    "job-leaving": (twins.bequeathing(jobs.separating(1)), Job),
    "batch-expanding": (batches.expanding(), Batch),
    "batch-submitting": (batches.submitting(), Batch),
    "batch-failed": (batches.unread(), Batch),
    "batch-cancelled": (batches.called_off(), Batch),
    "batch-snapshot": (batch_snapshot(batches.unread()), BatchSnapshot),
    "snapshot-pending": (snapshot(jobs.pending()), Snapshot),
    "snapshot-following": (snapshot(twins.follower()), Snapshot),
    "snapshot-completed": (snapshot(replace(jobs.completed(), eta=NOW)), Snapshot),
    "snapshot-failed": (snapshot(jobs.broken()), Snapshot),
}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.skipif(os.environ.get("STEMBUS_GOLDEN") != "write", reason="only when asked to")
def test_write_the_files_anew() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, (message, _) in EXAMPLES.items():
        text = msgspec.json.format(encode(message), indent=2)
        (GOLDEN / f"{name}.json").write_bytes(text + b"\n")


def test_every_kind_of_message_is_here() -> None:
    kinds = {
        *typing.get_args(Message),
        *typing.get_args(Answer),
        Job,
        Batch,
        Snapshot,
        BatchSnapshot,
    }
    assert kinds <= {type(message) for message, _ in EXAMPLES.values()}
    assert {f"{name}.json" for name in EXAMPLES} == {path.name for path in GOLDEN.iterdir()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_message_is_written_as_it_was(name: str) -> None:
    message, _ = EXAMPLES[name]
    assert msgspec.json.format(golden(name), indent=-1) == encode(message)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_written_is_read_as_it_was_meant(name: str) -> None:
    message, kind = EXAMPLES[name]
    decoder: Decoder[Any] = Decoder(kind)
    assert message == decoder.decode(golden(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_a_newer_neighbour_adds_is_ignored(name: str) -> None:
    message, kind = EXAMPLES[name]
    decoder: Decoder[Any] = Decoder(kind)
    grown = _grown(msgspec.json.decode(golden(name)))
    assert message == decoder.decode(msgspec.json.encode(grown))


#: Objects whose members are names of things, not fields.
_MAPPINGS = {"units", "speeds", "hindered"}


def _grown(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """``value`` with a field that nobody knows in every object."""
    if isinstance(value, list):
        return [_grown(item) for item in value]
    if isinstance(value, dict):
        grown = {key: _grown(item, key) for key, item in value.items()}
        return grown if name in _MAPPINGS else {**grown, "of_another_version": [1, {}]}
    return value


RECORDS = [name for name, (_, kind) in EXAMPLES.items() if kind in {Job, Batch}]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_says_no_more_than_it_has_to(name: str) -> None:
    """Defaults are left out: a record is written at every step of its job."""
    said = msgspec.json.decode(golden(name))
    # Terms of nothing are the one default that the encoder does not recognize.
    empty = [key for key, value in said.items() if value in (None, [], {}) and key != "terms"]
    assert empty == []
