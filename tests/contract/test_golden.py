"""What is on the wire and on the disk today must be readable tomorrow.

``STEMBUS_GOLDEN=write`` writes the files anew; look at the difference before it is committed.
"""

from __future__ import annotations

import os
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from shared.contracts.audio import AudioFormat
from shared.contracts.codec import Decoder, encode
from shared.contracts.commands import Accepted, Answer, CancelJob, Command, Refused, RetryJob
from shared.contracts.facts import Fact
from shared.contracts.job import Job, Phase
from shared.contracts.live import Activity, Beat, ModelOffer, Progress, Tick
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source, Upload
from shared.contracts.snapshot import Snapshot, snapshot
from shared.contracts.subjects import Message
from shared.contracts.work import Stage, StopOrder, SweepWork, Work
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW

GOLDEN = Path(__file__).parent / "golden"

SUBMIT = replace(
    jobs.submit(run_at=LATER, reply_to="_INBOX.a.1"),
    source=Source(upload="0123abcd"),
    options=Options(model="htdemucs_ft", stems=("vocals", "instrumental"), format=AudioFormat.MP3),
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)
FACT = {"worker": "separator-1", "elapsed": 2.5}

#: By file name: a message, and what reads it.
EXAMPLES: dict[str, tuple[Any, Any]] = {
    "submit": (SUBMIT, Command),
    "cancel": (CancelJob(job_id=JOB, reply_to="_INBOX.a.2"), Command),
    "retry": (RetryJob(job_id=JOB, reply_to="_INBOX.a.3"), Command),
    "accepted": (Accepted(job=snapshot(jobs.pending())), Answer),
    "refused": (
        Refused(problem=Problem.of(TerminalError(Code.JOB_NOT_FOUND, JOB))),
        Answer,
    ),
    "downloaded": (replace(jobs.downloaded(), **FACT), Fact),
    "prepared": (replace(jobs.prepared(), **FACT), Fact),
    "separated": (replace(jobs.separated(), device="cuda", **FACT), Fact),
    "finalized": (replace(jobs.finalized(), **FACT), Fact),
    "failed": (replace(jobs.failed(Stage.SEPARATE, "0", 2), **FACT), Fact),
    "work-download": (jobs.downloading().outbox[0], Work),
    "work-prepare": (jobs.preparing().outbox[0], Work),
    "work-separate": (jobs.separating().outbox[0], Work),
    "work-finalize": (jobs.finalizing().outbox[0], Work),
    "work-sweep": (SweepWork(job_id=JOB, attempt=2), Work),
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
            models=(ModelOffer(name="dsp", sources=("vocals",), ready=True, origin="built-in"),),
        ),
        Beat,
    ),
    "upload": (Upload(filename="a song.mp3", bytes=123), Upload),
    "job-pending": (jobs.pending(), Job),
    "job-scheduled": (jobs.scheduled(), Job),
    "job-processing": (
        jobs.live(jobs.separating(1), jobs.failed(Stage.SEPARATE, "1")),
        Job,
    ),
    "job-completed": (jobs.completed(), Job),
    "job-failed": (jobs.broken(), Job),
    "job-cancelled": (jobs.cancelled(), Job),
    "snapshot-pending": (snapshot(jobs.pending()), Snapshot),
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
    kinds = {*typing.get_args(Message), *typing.get_args(Answer), Job, Snapshot}
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
_MAPPINGS = {"units", "speeds"}


def _grown(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """``value`` with a field that nobody knows in every object."""
    if isinstance(value, list):
        return [_grown(item) for item in value]
    if isinstance(value, dict):
        grown = {key: _grown(item, key) for key, item in value.items()}
        return grown if name in _MAPPINGS else {**grown, "of_another_version": [1, {}]}
    return value


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("job-")])
def test_a_record_says_no_more_than_it_has_to(name: str) -> None:
    """Defaults are left out: a record is written at every step of its job."""
    assert not [
        key for key, value in msgspec.json.decode(golden(name)).items() if value in (None, [], {})
    ]
