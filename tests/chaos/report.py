"""What came of it: numbers for people and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


class Report(Struct, frozen=True, kw_only=True):
    """One run."""

    seed: int
    #: What was promised and not held; empty is success.
    wrong: list[str]
    #: Jobs by how they ended; failed ones by their code as well.
    outcomes: dict[str, int]
    #: Faults that were done, by kind, and those whose target was not there.
    faults: dict[str, int]
    #: Processes that ended, by name and how.
    ends: dict[str, int]
    #: Messages handed out, by durable consumer, again and again included.
    deliveries: dict[str, int]
    #: What clients went through, and what listeners did.
    clients: dict[str, int]
    #: Seconds: of faults, until all jobs had ended, until the queues were empty.
    seconds: dict[str, float]

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table("what", "which", "how much", title=f"Chaos with seed {self.seed}")
        parts: dict[str, Mapping[str, float]] = {
            "jobs": self.outcomes,
            "faults": self.faults,
            "ended": self.ends,
            "deliveries": self.deliveries,
            "clients": self.clients,
            "seconds": self.seconds,
        }
        for what, rows in parts.items():
            for which, number in rows.items():
                table.add_row(what, which, f"{number:g}")
            table.add_section()
        console.print(table)
        for line in self.wrong:
            console.print(f"WRONG: {line}", markup=False, soft_wrap=True)
        console.print("Nothing is wrong." if not self.wrong else f"{len(self.wrong)} are wrong.")
