"""The played gateway, and no pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.cli import http
from tests.unit.cli.played import played

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.played import Gateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway that is played; whoever lost a connection to it comes back at once."""
    monkeypatch.setattr(http, "RETRY_SECONDS", 0.0)
    with played() as running:
        yield running
