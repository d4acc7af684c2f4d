"""What was measured: a table for people, JSON for programs, Markdown for the documents."""

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
    value: float
    unit: str
    #: ``≤ 25``, where DESIGN §8 holds it to something.
    wanted: str = ""
    #: Whether it is as wanted; None where nothing is.
    held: bool | None = None


class Report:
    """Collects rows and says them as they come."""

    def __init__(self, machine: Machine, *, quick: bool, console: Console) -> None:
        self._machine = machine
        self._quick = quick
        self._console = console
        self._began = datetime.now(UTC)
        self._bench = ""
        self.rows: list[Row] = []
        #: Sentences about the rows, by the benchmark that they belong to.
        self.sentences: dict[str, list[str]] = {}

    def begin(self, bench: str, title: str) -> None:
        """What follows belongs to ``bench``."""
        self._bench = bench
        self._console.print(f"[bold]{bench}[/]: {title}")

    def add(self, what: str, value: float, unit: str, wanted: str = "") -> None:
        """Take in a number; ``wanted`` is a sign and a number in the same unit."""
        row = Row(
            bench=self._bench,
            what=what,
            value=_rounded(value),
            unit=unit,
            wanted=wanted,
            held=_held(value, wanted) if wanted else None,
        )
        self.rows.append(row)
        self._console.print(f"  {what}: {_shown(row)} {unit} {_judged(row)}", highlight=False)

    def say(self, sentence: str) -> None:
        """Take in what a number means, or why it is missing."""
        self.sentences.setdefault(self._bench, []).append(sentence)
        self._console.print(f"  {sentence}", highlight=False)

    def print(self) -> None:
        """The table, and the sentences under it."""
        table = Table("what", "value", "unit", "wanted", title=str(self._machine))
        for bench in self._benches():
            table.add_section()
            for row in self._of(bench):
                table.add_row(f"{bench}: {row.what}", _shown(row), row.unit, _judged(row))
        self._console.print(table)
        for bench, sentences in self.sentences.items():
            self._console.print(f"[bold]{bench}[/]", *sentences, sep="\n- ", highlight=False)

    def write(self, folder: Path) -> None:
        """``control-plane.json`` and ``control-plane.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        body = {
            "measured_at": self._began.isoformat(timespec="seconds"),
            "quick": self._quick,
            "machine": self._machine,
            "rows": self.rows,
            "sentences": self.sentences,
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
        if self._quick:
            lines += ["", "**A quick run: too few of everything to lean on.**"]
        for bench in self._benches():
            lines += [
                "",
                f"## {bench}",
                "",
                "| what | value | unit | wanted |",
                "|---|--:|---|---|",
            ]
            lines += [
                f"| {row.what} | {_shown(row)} | {row.unit} | {_judged(row)} |"
                for row in self._of(bench)
            ]
            if said := self.sentences.get(bench):
                lines += ["", *(f"- {sentence}" for sentence in said)]
        return "\n".join(lines) + "\n"

    def _benches(self) -> list[str]:
        return list(dict.fromkeys((*(row.bench for row in self.rows), *self.sentences)))

    def _of(self, bench: str) -> list[Row]:
        return [row for row in self.rows if row.bench == bench]


def _held(value: float, wanted: str) -> bool:
    sign, number = wanted.split()
    return _SIGNS[sign](value, float(number))


def _judged(row: Row) -> str:
    if row.held is None:
        return row.wanted
    return f"{row.wanted} {'✓' if row.held else '✗ missed'}"


def _rounded(value: float) -> float:
    """Three digits are all that a timing can say."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)


def _shown(row: Row) -> str:
    return f"{row.value:,.10g}"
