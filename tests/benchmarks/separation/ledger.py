"""What has been measured so far, kept line by line: a run that was broken off goes on there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from tests.benchmarks.separation.cases import Case, Outcome

if TYPE_CHECKING:
    from pathlib import Path


class Difference(Struct, frozen=True, kw_only=True, tag="difference"):
    """How far Stembus' stems are from demucs's."""

    #: Length of the song in seconds.
    seconds: int
    #: The largest of any sample.
    largest: float


class Measured(Struct, frozen=True, kw_only=True, tag="measured"):
    """A case, once."""

    outcome: Outcome


class Ledger:
    """Outcomes and differences, in memory and in a file if there is to be one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.outcomes: list[Outcome] = []
        self.differences: dict[int, float] = {}
        decoder = msgspec.json.Decoder(Measured | Difference)
        if path is not None and path.exists():
            for line in path.read_bytes().splitlines():
                self._take(decoder.decode(line))

    def times(self, case: Case) -> int:
        """How often a case has been measured."""
        return sum(one.case == case for one in self.outcomes)

    def add(self, entry: Measured | Difference) -> None:
        """Take down what was found."""
        self._take(entry)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")

    def _take(self, entry: Measured | Difference) -> None:
        match entry:
            case Measured():
                self.outcomes.append(entry.outcome)
            case Difference():
                known = self.differences.get(entry.seconds, 0.0)
                self.differences[entry.seconds] = max(known, entry.largest)
