"""What is told without a record of its own: few, seldom, and only what has changed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from services.gateway.feed import Feed
from services.gateway.news import DRIFT, TOLD_AT_ONCE, News
from services.gateway.places import QUEUE_SECONDS, Places
from services.gateway.ring import Ring
from shared.contracts.job import Job, Status
from shared.contracts.live import Queue
from shared.errors import Code
from tests.support import batches, jobs
from tests.support.jobs import NOW

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from tests.unit.gateway.conftest import Clock, Model


class House:
    """Everything that tells, and somebody who listens."""

    def __init__(self, model: Model, clock: Clock, log: FilteringBoundLogger) -> None:
        self.projection = model.projection
        self.places = Places(now=lambda: NOW, steady=clock)
        self.ring = Ring()
        self.feed = Feed(
            nc=None,
            records=None,  # type: ignore[arg-type] # it reads nothing here
            projection=model.projection,
            overviews=model.overviews,
            places=self.places,
            ring=self.ring,
            now=lambda: NOW,
            log=log,
        )
        self.news = News(
            feed=self.feed,
            projection=model.projection,
            overviews=model.overviews,
            places=self.places,
            ring=self.ring,
        )
        self._revision = 0

    def store(self, *made: Job) -> None:
        for job in made:
            self._revision += 1
            self.projection.store(self._revision, job)

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What it tells now."""
        position = self.ring.end
        self.news.tell()
        found = []
        for frame in self.ring.since(position) or ():
            event, _, data = frame.text.decode().partition("\ndata: ")
            assert frame.revision is None
            found.append((event.removeprefix("event: "), json.loads(data)))
        return found

    def places_told(self) -> list[tuple[str, int | None]]:
        return [(data["id"], data["position"]) for event, data in self.told() if event == "queue"]


@pytest.fixture
def house(model: Model, clock: Clock, log: FilteringBoundLogger) -> House:
    return House(model, clock, log)


def waiting(number: int) -> Job:
    return replace(jobs.pending(), id=f"j{number}")


def queue(*numbers: int, **more: Any) -> Queue:  # noqa: ANN401 - whatever there is
    return Queue(at=NOW, order=tuple(f"j{number}" for number in numbers), **more)


def test_a_place_is_told_when_it_has_changed(house: House) -> None:
    house.store(*map(waiting, range(4)))
    assert house.places_told() == []
    house.places.heard(queue(0, 1, 2))
    assert house.places_told() == [("j0", 1), ("j1", 2), ("j2", 3)]
    assert house.places_told() == []
    house.places.heard(queue(3, 0, 1, 2))
    assert house.places_told() == [("j3", 1), ("j0", 2), ("j1", 3), ("j2", 4)]
    house.places.heard(queue(3, 0, 2, 1))
    assert house.places_told() == [("j2", 3), ("j1", 4)]


def test_who_has_begun_or_is_gone_is_not_told(house: House) -> None:
    house.store(*map(waiting, range(3)))
    house.places.heard(queue(0, 1, 2))
    house.places_told()
    house.store(replace(jobs.downloading(), id="j0"))
    house.projection.remove(99, "j1", NOW)
    house.places.heard(queue(2))
    assert house.places_told() == [("j2", 1)]


def test_who_is_held_is_told_that_he_has_no_place_any_more(house: House) -> None:
    house.store(*map(waiting, range(2)))
    house.places.heard(queue(0, 1))
    house.places_told()
    house.store(replace(waiting(0), held_at=NOW))
    house.places.heard(queue(1))
    assert sorted(house.places_told()) == [("j0", None), ("j1", 1)]
    assert house.places_told() == []


def test_of_ten_thousand_the_first_are_told_and_who_was_pushed_out(house: House) -> None:
    with house.projection.at_once():
        house.store(*map(waiting, range(2 * TOLD_AT_ONCE)))
    everybody = range(2 * TOLD_AT_ONCE)
    house.places.heard(queue(*everybody))
    assert len(house.places_told()) == TOLD_AT_ONCE
    last = everybody[-1]
    house.places.heard(queue(last, *everybody[:-1]))
    told = dict(house.places_told())
    assert (told[f"j{last}"], told[f"j{TOLD_AT_ONCE - 1}"]) == (1, TOLD_AT_ONCE + 1)
    assert len(told) == TOLD_AT_ONCE + 1
    house.places.heard(queue(*everybody))
    assert len(house.places_told()) == TOLD_AT_ONCE + 1


def test_a_queue_that_was_told_long_ago_takes_back_what_it_said(house: House, clock: Clock) -> None:
    house.store(waiting(0))
    house.places.heard(queue(0, stalled=Code.STORAGE_LOW))
    ((_, data),) = house.told()
    assert data["waits_for"]["code"] == "storage.low"
    clock.now = QUEUE_SECONDS + 1
    ((_, data),) = house.told()
    assert (data["position"], data["waits_for"]) == (None, None)
    assert house.told() == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"rate": 1.0}, True),
        ({"rate": 1.0}, {}, True),
        ({}, {"stalled": Code.SERVICE_NO_WORKERS}, True),
        ({}, {"hindered": {"j1": Code.SOURCE_SITE_PAUSED}}, True),
        ({"rate": 1.0}, {"rate": 0.2}, False),
        ({"rate": 1.0}, {"rate": 0.01}, True),
        ({"rate": 1.0}, {"rate": 1.0, "waiting": 5}, False),
    ],
)
def test_what_counts_as_a_change(
    house: House, before: dict[str, Any], after: dict[str, Any], *, told: bool
) -> None:
    house.store(waiting(1))
    house.places.heard(queue(0, 1, **before))
    house.told()
    house.places.heard(queue(0, 1, **after))
    assert told == bool(house.told())


def test_a_start_that_creeps_away_is_told_in_the_end(house: House) -> None:
    house.store(waiting(0))
    told = 0
    for second in range(0, 60, 5):
        at = NOW + timedelta(seconds=second)
        house.places.heard(replace(queue(0, rate=1.0), at=at))
        told += len(house.told())
    assert told == 1 + 55 // DRIFT.total_seconds()


def test_a_batch_is_told_once_however_much_has_changed(house: House) -> None:
    one = batches.submitted()
    house.projection.store_batch(1, one)
    house.feed._quiet = False
    for number in range(3):
        seen = house.projection.store(
            number + 2, replace(jobs.completed(), id=f"b1-{number}", batch="b1")
        )
        assert seen is not None
        house.feed._touch(seen)
    ((event, data),) = house.told()
    assert (event, data["id"], data["state"]) == ("batch", "b1", "completed")
    assert (data["progress"], data["counts"][Status.COMPLETED]) == (100.0, 3)
    assert house.told() == []


def test_of_many_batches_some_are_told_later(house: House) -> None:
    count = TOLD_AT_ONCE + 7
    for number in range(count):
        house.projection.store_batch(number + 1, replace(batches.submitted(), id=f"b{number}"))
        house.feed._touched[f"b{number}"] = None
    house.feed._touched["gone"] = None
    assert [len(house.told()) for _ in range(3)] == [TOLD_AT_ONCE, 7, 0]
