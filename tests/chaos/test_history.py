"""The judge of a job's life: what it finds, and that it lets an innocent one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.history import Moment, Record, Seen, missed, retries, violations, whole

if TYPE_CHECKING:
    from collections.abc import Sequence


def life(*statuses: str, progress: Sequence[float] = ()) -> list[Seen]:
    """A life with one record for each status, seen without a gap."""
    return [
        Seen(
            revision=10 * number,
            previous=10 * (number - 1),
            record=Record(
                id="job",
                status=status,
                progress=progress[number - 1] if progress else 0.0,
                timeline=tuple(Moment(status) for status in statuses[:number]),
            ),
        )
        for number, status in enumerate(statuses, 1)
    ]


GOOD = [
    ("pending", "processing", "completed"),
    ("scheduled", "pending", "cancelled"),
    ("pending", "processing", "failed", "pending", "processing", "completed"),
    ("pending", "cancelled", "pending", "processing", "cancelled"),
]
BAD = {
    ("pending", "processing"): "no end",
    ("pending", "processing", "completed", "failed"): "completed, then failed",
    ("pending", "completed", "completed"): "the timeline says completed, then completed",
    ("pending", "completed", "pending", "completed"): "completed, then pending",
    ("pending", "failed", "processing", "completed"): "without a retry",
    ("pending", "cancelled", "processing"): "without a retry",
}


@pytest.mark.parametrize("statuses", GOOD)
def test_a_good_life_is_let_go(statuses: tuple[str, ...]) -> None:
    assert violations(life(*statuses)) == []


@pytest.mark.parametrize(("statuses", "said"), BAD.items())
def test_a_life_that_ends_never_or_twice_is_found(statuses: tuple[str, ...], said: str) -> None:
    assert said in "; ".join(violations(life(*statuses)))


def test_a_job_that_nobody_saw_is_found() -> None:
    assert violations([]) == ["nobody has seen a record of it"]


def test_progress_that_goes_back_is_found() -> None:
    seen = life("pending", "processing", "completed", progress=(0, 50, 40))
    assert violations(seen) == ["revision 30 after 20: progress from 50 back to 40"]


def test_revisions_that_do_not_increase_are_found() -> None:
    one, two = life("pending", "completed")
    found = violations([one, Seen(revision=10, previous=10, record=two.record)])
    assert found == ["revision 10 after 10: revisions do not increase"]


def test_an_end_may_be_passed_over_unseen_but_not_untold() -> None:
    """The broker died with the record of the retry on its lips; the timeline has it."""
    seen = life("pending", "failed", "pending", "processing", "completed")
    del seen[2]
    assert missed(seen) == 1
    assert violations(seen) == []
    assert retries(seen[-1].record) == 1


def test_a_timeline_that_was_shortened_proves_nothing() -> None:
    one = life(*("processing",) * 40, "completed")[-1]
    assert violations([one]) == []


def test_a_record_that_lies_there_unheard_belongs_to_the_life() -> None:
    seen = life("pending", "processing", "completed")
    newest = Seen(revision=30, previous=0, record=seen[-1].record)
    assert whole(seen, newest) == tuple(seen)
    assert whole(seen[:2], newest) == (*seen[:2], newest)
    assert whole((), newest) == (newest,)


def test_another_record_at_the_revision_that_was_heard_is_found() -> None:
    """What was told and what lies there differ: the broker has lost something."""
    seen = life("pending", "processing", "completed")
    other = Seen(revision=20, previous=0, record=seen[-1].record)
    assert "revisions do not increase" in "; ".join(violations(whole(seen[:2], other)))
