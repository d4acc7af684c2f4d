"""The read model: by id and by revision, removals and batches included."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.projection import BATCH, BatchRow, Mark, Row
from shared.contracts.batch import BatchStatus, batch_snapshot
from shared.contracts.job import Job, Status
from shared.contracts.snapshot import snapshot
from tests.support import batches, jobs
from tests.support.jobs import NOW
from tests.unit.gateway.conftest import model_at

if TYPE_CHECKING:
    from pathlib import Path

    from services.gateway.projection import Projection
    from tests.unit.gateway.conftest import Model


@pytest.fixture
def projection(model: Model) -> Projection:
    return model.projection


def made(job_id: str, status: Status = Status.PENDING) -> Job:
    return replace(jobs.OF_STATUS[status](), id=job_id)


def ids(marks: list[Mark]) -> list[str]:
    return [mark.id for mark in marks]


def test_an_empty_one_knows_nothing(projection: Projection) -> None:
    assert (
        projection.revision,
        projection.get("j1"),
        projection.batch("b1"),
        projection.batches(9, None),
        projection.changed_after(0, 9),
        projection.newest(),
        projection.mark("j1"),
        projection.rows([1]),
        projection.knows("job", "j1"),
    ) == (0, None, None, [], [], None, None, [], False)


@pytest.mark.parametrize("status", Status)
def test_a_job_comes_back_as_clients_see_it(projection: Projection, status: Status) -> None:
    one = made("j1", status)
    assert snapshot(one) == projection.store(7, one)
    assert (Row(7, snapshot(one)), 7) == (projection.get("j1"), projection.revision)
    assert projection.newest() == ("j1", 7)


def test_only_what_is_newer_replaces_what_is_known(projection: Projection) -> None:
    assert projection.store(5, made("j1"))
    newer = made("j1", Status.PROCESSING)
    assert projection.store(8, newer)
    assert [projection.store(revision, made("j1")) for revision in (8, 6)] == [None, None]
    assert Row(8, snapshot(newer)) == projection.get("j1")


def test_a_removal_takes_away_what_is_older_and_counts_as_known(projection: Projection) -> None:
    projection.store(5, made("j1"))
    assert not projection.remove(4, "j1", NOW)
    assert projection.get("j1") is not None
    assert projection.remove(9, "j1", NOW)
    assert not projection.remove(9, "j1", NOW)
    assert (projection.get("j1"), projection.revision) == (None, 9)
    assert projection.mark("j1") == Mark(9, "job", "j1", gone=True)
    assert projection.knows("job", "j1")


def test_a_record_that_comes_after_its_removal_stays_removed(projection: Projection) -> None:
    projection.remove(9, "j1", NOW)
    assert projection.store(5, made("j1")) is None
    assert projection.get("j1") is None


def test_a_job_may_be_made_anew(projection: Projection) -> None:
    projection.store(5, made("j1"))
    projection.remove(6, "j1", NOW)
    later = replace(made("j1"), created_at=NOW + timedelta(hours=1))
    assert projection.store(7, later)
    assert projection.mark("j1") == Mark(7, "job", "j1")
    assert projection.changed_after(0, 9) == [Mark(7, "job", "j1")]


def test_a_job_that_was_made_anew_unnoticed_has_its_new_age(projection: Projection) -> None:
    projection.store(5, made("j1"))
    later = replace(made("j1"), created_at=NOW + timedelta(hours=1))
    assert projection.store(7, later)
    assert Row(7, snapshot(later)) == projection.get("j1")


@pytest.mark.parametrize("status", BatchStatus)
def test_a_batch_comes_back_as_clients_see_it(projection: Projection, status: BatchStatus) -> None:
    one = batches.OF_STATUS[status]()
    assert projection.store_batch(7, one)
    assert BatchRow(7, batch_snapshot(one), one.submitted) == projection.batch(one.id)
    assert projection.knows(BATCH, one.id)
    assert not projection.knows("job", one.id)


def test_a_batch_s_own_progress_is_no_difference_to_clients(projection: Projection) -> None:
    one = batches.submitting()
    assert projection.store_batch(1, one) is True
    later = replace(one, submitted=2, next=2, updated_at=NOW + timedelta(seconds=5))
    assert projection.store_batch(2, later) is False
    assert projection.store_batch(2, later) is None
    assert projection.store_batch(1, one) is None
    known = projection.batch(one.id)
    assert known is not None
    assert (known.submitted, known.snapshot.updated_at) == (2, later.updated_at)
    assert projection.store_batch(3, batches.called_off()) is True


def test_a_batch_s_removal_is_one(projection: Projection) -> None:
    projection.store_batch(3, batches.submitted())
    assert not projection.remove_batch(2, "b1", NOW)
    assert projection.remove_batch(4, "b1", NOW)
    assert projection.batch("b1") is None
    assert projection.store_batch(3, batches.submitted()) is None
    assert projection.knows(BATCH, "b1")
    assert projection.changed_after(0, 9) == [Mark(4, "batch", "b1", gone=True)]


def test_a_job_and_a_batch_of_one_id_are_two(projection: Projection) -> None:
    projection.store(1, made("b1"))
    projection.store_batch(2, batches.submitted())
    projection.remove(3, "b1", NOW)
    assert projection.batch("b1") is not None
    assert projection.changed_after(0, 9) == [
        Mark(2, "batch", "b1"),
        Mark(3, "job", "b1", gone=True),
    ]


def test_batches_are_newest_first_and_their_pages_join(projection: Projection) -> None:
    for number in range(5):
        one = replace(
            batches.submitted(),
            id=f"b{number}",
            created_at=NOW + timedelta(microseconds=number // 2),
        )
        projection.store_batch(number + 1, one)
    rows = projection.batches(9, None)
    assert [row.snapshot.id for row in rows] == ["b4", "b3", "b2", "b1", "b0"]


def test_what_changed_after_a_revision_comes_lowest_first(projection: Projection) -> None:
    for number in range(4):
        projection.store(number + 1, made(f"j{number}"))
    projection.store_batch(5, batches.submitted())
    projection.store(6, made("j1", Status.COMPLETED))
    projection.remove(7, "j3", NOW)
    assert ids(projection.changed_after(0, 50)) == ["j0", "j2", "b1", "j1", "j3"]
    assert ids(projection.changed_after(2, 50)) == ["j2", "b1", "j1", "j3"]
    assert ids(projection.changed_after(2, 2)) == ["j2", "b1"]
    assert projection.changed_after(7, 50) == []


def test_what_has_not_ended_is_told_apart(projection: Projection) -> None:
    for number, status in enumerate(Status):
        projection.store(number + 1, made(status.value, status))
    assert [status.value for status in Status if not status.terminal] == ids(
        projection.unfinished_after(0, 50)
    )
    assert ids(projection.unfinished_after(2, 50)) == ["processing"]


def test_removals_are_forgotten_when_nobody_asks_for_them_any_more(projection: Projection) -> None:
    projection.remove(1, "j1", NOW)
    projection.remove(2, "j2", NOW + timedelta(hours=2))
    projection.forget(NOW + timedelta(hours=1))
    assert ids(projection.changed_after(0, 9)) == ["j2"]


def test_another_bucket_begins_with_nothing(model: Model) -> None:
    projection = model.projection
    projection.store(50, made("j1"))
    projection.store_batch(51, batches.submitted())
    projection.remove(52, "j2", NOW)
    while model.search.index():
        pass
    projection.clear()
    assert (projection.revision, projection.changed_after(0, 9)) == (0, [])
    assert projection.store(1, made("j1"))
    assert projection.store_batch(2, batches.submitted())
    while model.search.index():
        pass
    assert ids(projection.changed_after(0, 9)) == ["j1", "b1"]
    assert model.db.execute("select count(*) from finds").fetchone() == (1,)


def test_what_is_written_at_once_is_all_or_nothing(projection: Projection) -> None:
    def broken_off() -> None:
        with projection.at_once():
            projection.store(1, made("j1"))
            raise LookupError

    with pytest.raises(LookupError):
        broken_off()
    assert projection.get("j1") is None


def test_what_was_there_before_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    first = model_at(path)
    first.projection.store(3, made("j1"))
    first.db.close()
    second = model_at(path)
    assert (second.projection.revision, second.projection.get("j1")) == (0, None)
    second.db.close()
    assert not path.exists()
