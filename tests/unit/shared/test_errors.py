"""Every failure is explained, to people and to programs."""

from __future__ import annotations

import re

import pytest

from services.gateway.problems import STATUS
from shared.contracts.problem import Problem
from shared.errors import CATALOGUE, Code, RetryableError, StembusError, TerminalError


@pytest.mark.parametrize("code", Code)
def test_a_code_has_a_name_of_two_parts_and_an_explanation(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)?", code.value)
    title, hint = CATALOGUE[code]
    assert title[0].isupper()
    assert not title.endswith(".")
    assert hint[0].isupper()
    assert hint.endswith(".")


def test_every_explanation_belongs_to_a_code_and_no_two_have_one_title() -> None:
    assert set(Code) == set(CATALOGUE)
    titles = [title for title, _ in CATALOGUE.values()]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("code", Code)
def test_a_problem_says_what_its_error_says(code: Code) -> None:
    terminal = Problem.of(TerminalError(code, "exactly this"))
    title, hint = CATALOGUE[code]
    assert (
        Problem(code=code, title=title, detail="exactly this", hint=hint, retryable=False)
        == terminal
    )
    retryable = Problem.of(RetryableError(code, retry_after=7.0))
    assert Problem(code=code, title=title, hint=hint, retryable=True, retry_after=7.0) == retryable


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TerminalError(Code.JOB_EXISTS, "j1"), "job.exists: j1"),
        (TerminalError(Code.JOB_NOT_FOUND), "job.not_found: There is no such job"),
        (RetryableError(Code.STORAGE_FULL), "storage.full: The server's disk is full"),
    ],
)
def test_an_error_reads_as_its_code_and_its_detail(error: StembusError, text: str) -> None:
    assert text == str(error)


@pytest.mark.parametrize(("code", "status"), STATUS.items())
def test_a_status_over_http_is_an_error_s(code: Code, status: int) -> None:
    assert (status >= 500) == (code.value.split(".")[0] in {"service", "storage"})
    assert 400 <= status < 600


def test_every_code_about_a_request_has_a_status_over_http() -> None:
    about_requests = {
        code
        for code in Code
        if code.value.split(".")[0] in {"request", "job", "batch", "queue", "stem"}
    }
    of_jobs = {Code.JOB_TIMED_OUT, Code.JOB_DEADLINE_PASSED}
    assert about_requests - of_jobs <= set(STATUS)


def test_whatever_a_request_can_be_refused_for_is_not_called_our_own_fault() -> None:
    assert Code.INTERNAL not in STATUS
    assert {404} == {
        STATUS[code]
        for code in (
            Code.JOB_NOT_FOUND,
            Code.BATCH_NOT_FOUND,
            Code.STEM_NOT_FOUND,
            Code.ROUTE_NOT_FOUND,
        )
    }
