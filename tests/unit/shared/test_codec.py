"""Messages to bytes and back."""

from __future__ import annotations

import pytest

from shared.contracts.codec import Decoder, UndecodableError, encode
from shared.contracts.commands import CancelJob, Command
from shared.contracts.facts import Fact
from shared.contracts.job import Job
from shared.contracts.work import Work
from tests.support import jobs

COMMANDS: Decoder[Command] = Decoder(Command)
BOTH: Decoder[Command | Fact] = Decoder(Command | Fact)


@pytest.mark.parametrize("message", [jobs.submit(), CancelJob(job_id="j"), jobs.downloaded()])
def test_a_message_comes_back_as_it_was(message: Command | Fact) -> None:
    assert message == BOTH.decode(encode(message))


def test_a_job_comes_back_as_it_was_with_all_it_has_to_say() -> None:
    decoder: Decoder[Job] = Decoder(Job)
    for make in jobs.OF_STATUS.values():
        assert make() == decoder.decode(encode(make()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"type":"submit"}',
        b'{"type":"unheard of","job_id":"j"}',
        b'{"type":"cancel","job_id":7}',
        b'{"type":"cancel","job_id":"j"} trailing',
        b'{"type":"downloaded","job_id":"j"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_such_message_is_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        COMMANDS.decode(data)


def test_a_fact_is_no_work() -> None:
    works: Decoder[Work] = Decoder(Work)
    with pytest.raises(UndecodableError):
        works.decode(encode(jobs.downloaded()))
