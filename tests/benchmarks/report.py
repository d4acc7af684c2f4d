"""What was measured: tables for people, JSON for programs, Markdown for the documents."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.benchmarks.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {"≤": operator.le, "≥": operator.ge}


class Row(Struct, frozen=True, kw_only=True):
    """One number."""

    #: The benchmark that measured it.
    bench: str
    what: str
    #: What it was measured on or with, where it was on several: a size, a contender.
    of: str
    value: float
    unit: str
    #: ``≤ 25``, where DESIGN §8 holds it to something.
    wanted: str = ""
    #: Whether it is as wanted; None where nothing is.
    held: bool | None = None
    #: ``value`` by that of the contender that the others are held against.
    ratio: float | None = None

    def __str__(self) -> str:
        mark = {None: "", True: " ✓", False: f" ✗ (wanted {self.wanted})"}[self.held]
        return f"{self.value:,.10g} {self.unit}{mark}"


class Report:
    """Collects rows and says them as they come."""

    def __init__(self, machine: Machine, *, quick: bool, console: Console) -> None:
        self._machine = machine
        self._quick = quick
        self._console = console
        self._began = datetime.now(UTC)
        self._bench = ""
        self._titles: dict[str, str] = {}
        self._rows: list[Row] = []
        self._sentences: dict[str, list[str]] = {}

    def begin(self, bench: str, title: str) -> None:
        """What follows belongs to ``bench``."""
        self._bench = bench
        self._titles[bench] = title
        self._sentences[bench] = []
        self._console.print(f"[bold]{bench}[/]: {title}")

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        of: str = "",
        wanted: str = "",
        ratio: float | None = None,
    ) -> None:
        """Take in a number; ``wanted`` is a sign and a number in the same unit."""
        row = Row(
            bench=self._bench,
            what=what,
            of=of,
            value=_rounded(value),
            unit=unit,
            wanted=wanted,
            held=_held(value, wanted) if wanted else None,
            ratio=ratio and _rounded(ratio),
        )
        self._rows.append(row)
        self._console.print(f"  {what}{of and f' ({of})'}: {row}", highlight=False)

    def note(self, sentence: str) -> None:
        """Say what is being done; it is not kept."""
        self._console.print(f"  {sentence}", style="dim", highlight=False)

    def say(self, sentence: str) -> None:
        """Take in what a number means, or why it is missing."""
        if sentence not in self._sentences[self._bench]:
            self._sentences[self._bench].append(sentence)

    def print(self) -> None:
        """The tables, and the sentences under each."""
        self._console.print(f"\n{self._machine}", *self._doubts(), sep="\n", highlight=False)
        for bench, title in self._titles.items():
            head, *body = self._cells(bench)
            table = Table(*head, title=f"{bench}: {title}", title_justify="left")
            for cells in body:
                table.add_row(*cells)
            self._console.print(table)
            for sentence in self._sentences[bench]:
                self._console.print(f"- {sentence}", highlight=False, markup=False)

    def write(self, folder: Path) -> None:
        """``control-plane.json`` and ``control-plane.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        body = {
            "measured_at": self._began.isoformat(timespec="seconds"),
            "quick": self._quick,
            "machine": self._machine,
            "rows": self._rows,
            "sentences": self._sentences,
        }
        text = msgspec.json.format(msgspec.json.encode(body), indent=2)
        (folder / "control-plane.json").write_bytes(text + b"\n")
        (folder / "control-plane.md").write_text(self._markdown())

    def _markdown(self) -> str:
        lines = [
            "# The control plane, measured",
            "",
            f"Written by `make bench` on {self._began:%d %B %Y}, for one machine; as JSON:",
            "[control-plane.json](control-plane.json).",
            "",
            f"> {self._machine}",
        ]
        lines += [line for doubt in self._doubts() for line in ("", f"**{doubt}**")]
        for bench, title in self._titles.items():
            head, *body = self._cells(bench)
            rule = ["---", *("--:" for _ in head[1:])]
            lines += ["", f"## {bench}: {title}", ""]
            lines += [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
            if said := self._sentences[bench]:
                lines += ["", *(f"- {sentence}" for sentence in said)]
        return "\n".join(lines) + "\n"

    def _doubts(self) -> list[str]:
        """Why these numbers are not to be leaned on."""
        doubts = {
            "A quick run: too few of everything to lean on.": self._quick,
            "The machine was busy with other things: times are too long.": self._machine.busy,
        }
        return [doubt for doubt, holds in doubts.items() if holds]

    def _cells(self, bench: str) -> list[list[str]]:
        """A table: a line for each thing that was measured, a column for each that it was of."""
        rows = {(row.what, row.of): row for row in self._rows if row.bench == bench}
        columns = list(dict.fromkeys(of for _, of in rows))
        lines = [["what", *(of or "measured" for of in columns)]]
        for what in dict.fromkeys(what for what, _ in rows):
            found = (rows.get((what, of)) for of in columns)
            lines.append([what, *("" if row is None else str(row) for row in found)])
        return lines


def _held(value: float, wanted: str) -> bool:
    sign, number = wanted.split()
    return _SIGNS[sign](value, float(number))


def _rounded(value: float) -> float:
    """Three digits are all that a timing can say."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)
