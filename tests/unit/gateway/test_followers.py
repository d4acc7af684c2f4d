"""Jobs that wait for what comes of another one: they are shown how far that one is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.gateway.followers import ALMOST, TOLD_LIVE, Followers, as_its_leader
from shared.contracts.job import Phase, Status
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import jobs
from tests.support.jobs import LATER, METADATA, NOW

if TYPE_CHECKING:
    from shared.contracts.job import Job

FOLLOWER = snapshot(replace(jobs.pending(), id="twin", follows="other"))


def leader(job: Job) -> Snapshot:
    """A job as the one that is followed."""
    return replace(snapshot(job), id="other")


AT_WORK = replace(leader(jobs.separating(2)), progress=40.0, eta=LATER)


def test_a_follower_is_where_its_leader_is_and_stays_who_it_is() -> None:
    seen = as_its_leader(FOLLOWER, AT_WORK)
    assert (seen.id, seen.status, seen.follows) == ("twin", Status.PENDING, "other")
    assert (seen.phase, seen.progress, seen.eta) == (Phase.SEPARATION, 40.0, LATER)
    assert seen.separation is not None
    assert seen.separation == AT_WORK.separation
    assert (seen.seconds, seen.metadata) == (AT_WORK.seconds, METADATA)
    assert (seen.created_at, seen.timeline) == (FOLLOWER.created_at, FOLLOWER.timeline)


def test_a_leader_that_waits_itself_lends_its_place() -> None:
    waiting = replace(leader(jobs.pending()), position=7, starts_at=NOW + timedelta(minutes=1))
    seen = as_its_leader(FOLLOWER, waiting)
    assert (seen.position, seen.starts_at, seen.phase) == (7, waiting.starts_at, None)


@pytest.mark.parametrize(
    ("follower", "other"),
    [
        (replace(FOLLOWER, follows=None), AT_WORK),
        (replace(FOLLOWER, follows="a third"), AT_WORK),
        (replace(FOLLOWER, held=True), AT_WORK),
        (replace(FOLLOWER, status=Status.CANCELLED), AT_WORK),
        (replace(FOLLOWER, status=Status.PROCESSING), AT_WORK),
        (FOLLOWER, replace(AT_WORK, follows="a third")),
    ],
)
def test_whoever_waits_for_nothing_of_it_is_shown_nothing_of_it(
    follower: Snapshot, other: Snapshot
) -> None:
    assert as_its_leader(follower, other) == follower


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_one_whose_leader_has_just_ended_does_not_fall_back(status: Status) -> None:
    ended = replace(leader(jobs.completed()), status=status)
    seen = as_its_leader(FOLLOWER, ended)
    # Nor has it what it does not have yet.
    assert (seen.status, seen.progress, seen.phase) == (Status.PENDING, ALMOST, ended.phase)
    assert (seen.result, seen.stems) == (None, ())


def test_who_follows_whom() -> None:
    known = Followers()
    assert known.of("a") == []
    for number in range(TOLD_LIVE + 3):
        known.note(f"j{number}", "a")
    assert known.of("a") == [f"j{number}" for number in range(TOLD_LIVE)]
    known.note("j0", "b")
    known.note("j1", None)
    known.note("j2", "a")  # told again: it keeps its place
    assert known.of("b") == ["j0"]
    assert known.of("a")[:2] == ["j2", "j3"]
    assert len(known.of("a")) == TOLD_LIVE
    known.note("j0", None)
    known.note("nobody", None)
    assert known.of("b") == []
    known.clear()
    assert known.of("a") == []
