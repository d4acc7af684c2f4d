"""Draws the job's state chart from the table itself: ``python -m services.scheduler.chart``.

The README shows this drawing; a test holds it to the table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.scheduler.core import TABLE

if TYPE_CHECKING:
    from shared.contracts.job import Status


def arrows() -> list[tuple[str, str, str]]:
    """(from, to, on) of every transition; ``[*]`` is before the first and after the last status."""
    found: dict[tuple[str, str], list[str]] = {}
    for status, rules in TABLE.items():
        for stimulus, rule in rules.items():
            for target in rule.leads_to:
                found.setdefault((_node(status), _node(target)), []).append(_words(stimulus))
    return [(start, end, ", ".join(labels)) for (start, end), labels in found.items()]


def mermaid() -> str:
    """The chart in Mermaid's language."""
    lines = [f"    {start} --> {end}: {label}" for start, end, label in arrows()]
    ends = [f"    {_node(status)} --> [*]" for status in TABLE if status and status.terminal]
    return "\n".join(["stateDiagram-v2", *lines, *ends]) + "\n"


def _node(status: Status | None) -> str:
    return "[*]" if status is None else status.value


def _words(stimulus: type) -> str:
    """``CancelJob`` → ``cancel job``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stimulus.__name__).lower()


if __name__ == "__main__":
    print(mermaid(), end="")  # noqa: T201 - its purpose
