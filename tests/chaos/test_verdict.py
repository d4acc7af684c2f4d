"""The verdict on a whole run: every broken promise has a line, and a kept one has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos import verdict
from tests.chaos.client import Ticket
from tests.chaos.history import Moment, Problem, Record, Seen
from tests.chaos.orders import Order, Source

if TYPE_CHECKING:
    from pathlib import Path


def ticket(source: Source = Source.URL, **facts: object) -> Ticket:
    order = Order(
        number=7, at=0.0, source=source, song=1, format="flac", cancel_after=None, retry=False
    )
    made = Ticket(order)
    made.job_id = "job"
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def seen(*statuses: str, code: str = "", revision: int = 5) -> Seen:
    timeline = tuple(Moment(status) for status in ("pending", *statuses))
    error = Problem(code) if code else None
    return Seen(revision, 0, Record("job", statuses[-1], error=error, timeline=timeline))


def said(one: Seen, *tickets: Ticket) -> str:
    return "; ".join(verdict.of_jobs({"job": (one,)}, tickets))


@pytest.mark.parametrize(
    ("one", "asked"),
    [
        (seen("completed"), ticket()),
        (seen("completed"), ticket(cancels=1)),
        (seen("cancelled"), ticket(cancels=2, cancelled=True)),
        (seen("failed", code="source.not_found"), ticket(Source.GONE)),
        (seen("failed", code="worker.poison"), ticket()),
        (seen("cancelled", "pending", "completed"), ticket(cancels=1, cancelled=True, retries=1)),
    ],
)
def test_what_was_promised_is_let_go(one: Seen, asked: Ticket) -> None:
    assert said(one, asked) == ""


@pytest.mark.parametrize(
    ("one", "asked", "wrong"),
    [
        (seen("processing"), ticket(), "no end"),
        (seen("cancelled"), ticket(), "nobody asked"),
        (seen("completed"), ticket(cancels=1, cancelled=True), "never was"),
        (seen("completed"), ticket(Source.GONE), "can't have"),
        (seen("failed", code="source.not_audio"), ticket(), "it failed with"),
        (seen("failed", code="worker.tired"), ticket(), "without a code"),
        (seen("failed"), ticket(), "without a code"),
        (seen("failed", "pending", "completed"), ticket(), "retried 1 times, and asked for 0"),
        (seen("completed"), ticket(wrong=["500 oh"]), "order 7: 500 oh"),
        (seen("completed"), ticket(job_id=""), "made twice"),
        (seen("completed"), ticket(job_id=""), "never accepted"),
        (seen("completed"), ticket(job_id="other"), "job other: nobody has seen"),
    ],
)
def test_what_was_not_kept_is_found(one: Seen, asked: Ticket, wrong: str) -> None:
    assert wrong in said(one, asked)


def test_only_ends_that_nobody_brought_about_are_wrong() -> None:
    lines = [
        "scheduler-1 was killed by SIGKILL; starting it again (see",
        "gateway-1 exited 0; starting it again (see",
        "broker exited 1; starting it again (see",
        "separator-1 exited 1; starting it again (see",
        "downloader-1 was killed by SIGABRT; starting it again (see",
        "logs/gateway-1.log)",
    ]
    assert len(verdict.ends(lines)) == 5
    found = list(verdict.of_processes(lines))
    assert found == ["separator-1 exited 1", "downloader-1 was killed by SIGABRT"]


def test_revisions_of_the_bucket_that_come_twice_or_late_are_found() -> None:
    assert list(verdict.of_revisions([1, 2, 5])) == []
    assert len(list(verdict.of_revisions([1, 5, 5, 4, 6]))) == 2


def test_a_second_look_that_differs_is_found() -> None:
    before, after = seen("failed", code="worker.poison"), seen("completed", revision=9)
    assert list(verdict.of_second_look({"job": before}, {"job": before})) == []
    assert "from failed at revision 5 to completed at revision 9" in "".join(
        verdict.of_second_look({"job": before}, {"job": after})
    )
    assert "from nothing" in "".join(verdict.of_second_look({}, {"job": after}))


@pytest.mark.parametrize(("status", "left"), [("completed", 1), ("cancelled", 1), ("failed", 0)])
def test_only_a_failed_job_keeps_what_it_had(status: str, left: int, tmp_path: Path) -> None:
    path = tmp_path / "work" / "job" / "1" / "chunk-0#1"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of a blob")
    found = list(verdict.of_blobs(tmp_path, {"job": seen(status)}))
    assert len(found) == left
    assert len(list(verdict.of_blobs(tmp_path, {}))) == 1
