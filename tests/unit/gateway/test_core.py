"""What a parameter, a range and a tick mean: whole tables."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.gateway.core import byte_range, current, whole_number
from shared.contracts.job import Job, Phase
from shared.contracts.live import Activity, Progress
from shared.contracts.snapshot import snapshot
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("0200", 200), ("50", 50)])
def test_a_whole_number_is_one(text: str, number: int) -> None:
    assert number == whole_number("limit", text, 1, 200)


@pytest.mark.parametrize(
    "text", ["", "0", "201", "-1", "+1", "1.0", "1e2", "0x1", " 1", "1\n", "٣", "9" * 30, "one"]
)
def test_any_other_number_is_malformed_and_its_bounds_are_told(text: str) -> None:
    with pytest.raises(TerminalError, match="limit: a whole number from 1 to 200") as caught:
        whole_number("limit", text, 1, 200)
    assert caught.value.code == Code.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=9-", (9, 10)),
        ("bytes=5-999", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes= 1 - 2", (1, 3)),
        # What RFC 9110 lets a server ignore.
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes", None),
        ("bytes=", None),
        ("items=0-1", None),
        ("bytes=0-1x", None),
        ("bytes=--1", None),
        (f"bytes=0-{'9' * 30}", None),
    ],
)
def test_a_range_header_means(header: str | None, expected: tuple[int, int] | None) -> None:
    assert expected == byte_range(header, 10)


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_outside_the_file_can_t_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(TerminalError) as caught:
        byte_range(header, size)
    assert caught.value.code == Code.RANGE_NOT_SATISFIABLE


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_slicing_is(data: bytes, first: int, last: int) -> None:
    if first >= len(data) and last >= first:
        with pytest.raises(TerminalError):
            byte_range(f"bytes={first}-{last}", len(data))
        return
    found = byte_range(f"bytes={first}-{last}", len(data))
    if found is None:
        assert last < first
    else:
        assert data[first : last + 1] == data[found[0] : found[1]]
        assert found[0] < found[1] <= len(data)


@given(st.text("bytes=-0123456789, \u0663"), st.integers(0, 1000))
def test_whatever_a_client_asks_a_range_lies_inside_the_file(header: str, size: int) -> None:
    try:
        found = byte_range(header, size)
    except TerminalError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


def told(percent: float) -> Progress:
    return Progress(
        job_id=JOB,
        phase=Phase.SEPARATION,
        progress=percent,
        activity=Activity.SEPARATING,
        eta=LATER,
    )


def test_a_snapshot_shows_what_ticks_have_told_and_never_less_than_it_says() -> None:
    stored = snapshot(jobs.separating(1))
    assert stored == current(stored, None)
    assert replace(stored, progress=63.5, eta=LATER) == current(stored, told(63.5))
    assert replace(stored, eta=LATER) == current(stored, told(12.0))


def test_an_eta_that_was_known_outlives_a_tick_without_one() -> None:
    stored = replace(snapshot(jobs.separating()), eta=NOW)
    assert current(stored, replace(told(40.0), eta=None)).eta == NOW


@pytest.mark.parametrize("job", [jobs.completed(), jobs.broken(), jobs.cancelled()])
def test_what_has_ended_is_not_moved_by_a_late_tick(job: Job) -> None:
    assert snapshot(job) == current(snapshot(job), told(99.0))


def test_a_snapshot_hides_what_only_the_scheduler_needs() -> None:
    shown = msgspec.to_builtins(snapshot(jobs.separating()))
    assert not {"units", "outbox", "attempt_floor", "traceparent"} & set(shown)
    assert {key: shown["separation"][key] for key in ("model", "chunks", "chunks_done")} == {
        "model": "htdemucs",
        "chunks": 3,
        "chunks_done": 0,
    }


def test_times_keep_their_zone() -> None:
    assert snapshot(jobs.pending()).created_at.tzinfo == UTC
