"""What the README says of the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import readme

ROOT = readme.README.parent


def test_the_state_chart_and_the_settings_are_drawn_from_the_code() -> None:
    text = readme.README.read_text()
    assert readme.current(text) == text, "run: python -m tests.support.readme"


def test_every_setting_has_a_comment_that_says_what_it_is_for() -> None:
    assert [row for row in readme.settings_rows() if row.endswith("|  |")] == []


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", readme.README.read_text())))
)
def test_every_file_that_it_links_to_is_there(path: str) -> None:
    assert (ROOT / Path(path)).exists()
