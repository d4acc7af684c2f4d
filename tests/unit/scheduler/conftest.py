"""Schedulers in memory, let go of afterwards."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.support.realm import Realm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job


class NewRealm(Protocol):
    """Makes one with these records, and whatever else a ``Realm`` may be told."""

    def __call__(self, *records: Job | Batch, **more: object) -> Realm:
        """It."""


@pytest.fixture
def new_realm() -> Iterator[NewRealm]:
    """As many as a test wants."""
    with ExitStack() as stack:

        def make(*records: Job | Batch, **more: object) -> Realm:
            return stack.enter_context(Realm(*records, **more))  # type: ignore[arg-type] # as told

        yield make


@pytest.fixture
def realm(new_realm: NewRealm) -> Realm:
    """One with nothing in it."""
    return new_realm()
