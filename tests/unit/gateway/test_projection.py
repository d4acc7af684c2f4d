"""The read model: by id, by age, by revision."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.core import Cursor
from services.gateway.projection import Projection, Row, age_of
from shared.contracts.job import Status
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import jobs
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def projection(tmp_path: Path) -> Iterator[Projection]:
    projection = Projection(tmp_path / "jobs.sqlite")
    yield projection
    projection.close()


def seen(job_id: str, minute: int = 0, status: Status = Status.PENDING) -> Snapshot:
    base = snapshot(jobs.OF_STATUS[status]())
    return replace(base, id=job_id, created_at=NOW + timedelta(minutes=minute))


def ids(rows: list[Row]) -> list[str]:
    return [row.snapshot.id for row in rows]


def test_an_empty_one_knows_nothing(projection: Projection) -> None:
    assert (
        projection.revision,
        projection.get("j1"),
        projection.page(9, None, None),
        projection.changed_after(0, 9),
    ) == (0, None, [], [])


@pytest.mark.parametrize("status", Status)
def test_a_snapshot_comes_back_as_it_was(projection: Projection, status: Status) -> None:
    one = seen("j1", status=status)
    assert projection.store(7, one)
    assert (Row(7, one), 7) == (projection.get("j1"), projection.revision)


def test_only_what_is_newer_replaces_what_is_known(projection: Projection) -> None:
    assert projection.store(5, seen("j1"))
    newer = seen("j1", status=Status.PROCESSING)
    assert projection.store(8, newer)
    assert [projection.store(revision, seen("j1")) for revision in (8, 6)] == [False, False]
    assert Row(8, newer) == projection.get("j1")


def test_a_deletion_removes_what_is_older_and_counts_as_known(projection: Projection) -> None:
    projection.store(5, seen("j1"))
    projection.remove(4, "j1")
    assert projection.get("j1") is not None
    projection.remove(9, "j1")
    assert (projection.get("j1"), projection.revision) == (None, 9)


def test_pages_are_newest_first_and_join_without_gap_or_overlap(projection: Projection) -> None:
    for number in range(7):
        projection.store(number + 1, seen(f"j{number}", minute=number // 2))
    expected = ["j6", "j5", "j4", "j3", "j2", "j1", "j0"]
    assert expected == ids(projection.page(50, None, None))
    read: list[str] = []
    cursor = None
    while rows := projection.page(2, cursor, None):
        read += ids(rows)
        last = rows[-1].snapshot
        cursor = Cursor(age_of(last), last.id)
    assert expected == read


def test_a_new_job_does_not_shift_the_pages_after_a_cursor(projection: Projection) -> None:
    for number in range(4):
        projection.store(number + 1, seen(f"j{number}", minute=number))
    last = projection.page(2, None, None)[-1].snapshot
    projection.store(9, seen("j9", minute=9))
    assert ids(projection.page(9, Cursor(age_of(last), last.id), None)) == ["j1", "j0"]


def test_a_page_of_one_status_has_no_other(projection: Projection) -> None:
    for number, status in enumerate(Status):
        projection.store(number + 1, seen(status.value, number, status))
    for status in Status:
        assert [status.value] == ids(projection.page(9, None, status.value))
    assert projection.page(9, None, "'; drop table jobs; --") == []


def test_what_changed_after_a_revision_comes_lowest_first(projection: Projection) -> None:
    for number in range(5):
        projection.store(number + 1, seen(f"j{number}"))
    projection.store(9, seen("j1", status=Status.COMPLETED))
    assert ids(projection.changed_after(2, 50)) == ["j2", "j3", "j4", "j1"]
    assert ids(projection.changed_after(2, 2)) == ["j2", "j3"]
    assert projection.changed_after(9, 50) == []


def test_what_has_not_ended_is_told_apart(projection: Projection) -> None:
    for number, status in enumerate(Status):
        projection.store(number + 1, seen(status.value, number, status))
    assert [status.value for status in Status if not status.terminal] == ids(
        projection.unfinished_after(0, 50)
    )
    assert ids(projection.unfinished_after(2, 50)) == ["processing"]


def test_what_was_there_before_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    first = Projection(path)
    first.store(3, seen("j1"))
    first.close()
    second = Projection(path)
    assert (second.revision, second.get("j1")) == (0, None)
    second.close()


def test_ages_sort_as_times_do() -> None:
    times = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(seconds=1)]
    ages = [age_of(replace(seen("j1"), created_at=time)) for time in times]
    assert sorted(ages) == ages
