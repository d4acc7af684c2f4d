"""What the local stack tells its services."""

from __future__ import annotations

import pytest

from services.cli.stack import threads_of

NAME = "STEMBUS_TORCH_THREADS"


@pytest.mark.parametrize(
    ("separators", "cores", "threads"),
    [(1, 8, None), (2, 8, "4"), (3, 8, "2"), (8, 8, "1"), (16, 8, "1"), (2, 1, "1")],
)
def test_separators_share_the_cores_out(separators: int, cores: int, threads: str | None) -> None:
    assert threads_of(separators, cores, {}).get(NAME) == threads
    assert threads_of(separators, cores, {NAME: "5"}) == {}
