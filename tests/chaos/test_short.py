"""The short version of ``make chaos``: a few jobs, every fault, some seconds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.chaos.run import SHORT, chaos

if TYPE_CHECKING:
    from pathlib import Path

#: Another one can be tried, or one that failed replayed, with ``CHAOS_SEED=…``.
SEED: Final = int(os.environ.get("CHAOS_SEED", "2708"))


@pytest.mark.timeout(400)
def test_every_accepted_job_ends_once_although_everything_is_hurt(tmp_path: Path) -> None:
    said: list[str] = []
    report = chaos(tmp_path, SEED, SHORT, said.append)
    print(*said, sep="\n")  # noqa: T201 - the seed and the plan, for whoever has to replay it
    assert report.wrong == []
    assert report.outcomes["completed"] > SHORT.jobs // 2
