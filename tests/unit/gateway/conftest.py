"""A read model of one's own, and what stands for the rest of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from services.gateway.overview import Overviews
from services.gateway.projection import Projection
from services.gateway.schema import open_database
from services.gateway.search import Search
from services.gateway.tallies import Tallies

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


class Model(NamedTuple):
    """A read model with everything that reads it."""

    db: sqlite3.Connection
    projection: Projection
    search: Search
    tallies: Tallies
    overviews: Overviews


def model_at(path: Path) -> Model:
    """An empty one."""
    db = open_database(path)
    projection, tallies = Projection(db), Tallies(db)
    overviews = Overviews(projection=projection, tallies=tallies)
    return Model(db, projection, Search(db), tallies, overviews)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    """An empty one."""
    model = model_at(tmp_path / "jobs.sqlite")
    yield model
    model.db.close()


class Clock:
    """A steady clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """One that stands at 0."""
    return Clock()
