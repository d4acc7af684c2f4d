"""What was measured: a table for people, JSON for programs, a page with a plot."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from tests.benchmarks.machine import Machine
from tests.benchmarks.separation.cases import Case, Outcome, Start, Who
from tests.benchmarks.separation.weights import WINDOW_FLOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_GIB: Final = 1 << 30
_HEAD: Final = (
    "who", "start", "precision", "songs", "seconds", "windows/s", "x real time",
    "of matmul peak", "memory, PSS", "demucs takes",
)  # fmt: skip
#: The plot: pixels of a line, of the names, of the longest bar.
_LINE, _NAMES, _BAR = 22, 330, 360
_COLOURS: Final = {Who.DEMUCS: "#8a8f98", Who.AUDIO_SEPARATOR: "#b9a3d0", Who.STEMBUS: "#2f7d6b"}


class Result(Struct, frozen=True, kw_only=True):
    """A case, measured."""

    case: Case
    walls: tuple[float, ...]
    windows_per_second: float
    #: Seconds of audio for each second on the wall.
    real_time: float
    #: Share of what the machine's matrix products reach.
    of_peak: float
    pss: int
    rss: int
    #: Seconds that demucs takes, started alike, by those of this one: above 1 it is slower.
    demucs_ratio: float | None


class Page(Struct, frozen=True, kw_only=True):
    """All of a run."""

    measured_at: datetime
    machine: Machine
    #: What was computed on, as torch names it.
    device: str
    matmul_gflops: float
    results: tuple[Result, ...]
    #: Largest difference between Stembus' and demucs's samples, by the length of the song.
    differences: dict[int, float]
    missing: tuple[str, ...]


def results_of(outcomes: Sequence[Outcome], peak: float) -> Iterator[Result]:
    """Medians of what was repeated; ``peak`` in operations a second."""
    by_case: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_case.setdefault(outcome.case.id, []).append(outcome)
    walls = {name: median(one.wall for one in some) for name, some in by_case.items()}
    for name, some in by_case.items():
        case, wall = some[0].case, walls[name]
        exact = msgspec.structs.replace(case, who=Who.DEMUCS, precision=type(case.precision).EXACT)
        theirs = walls.get(exact.id)
        yield Result(
            case=case,
            walls=tuple(round(one.wall, 2) for one in some),
            windows_per_second=some[0].windows / wall,
            real_time=case.seconds * case.workers / wall,
            of_peak=some[0].windows / wall * WINDOW_FLOP / peak,
            pss=max(one.pss for one in some),
            rss=max(one.rss for one in some),
            demucs_ratio=theirs / wall if theirs else None,
        )


def page_of(
    machine: Machine,
    device: str,
    peak: float,
    outcomes: Sequence[Outcome],
    differences: dict[int, float],
    missing: Sequence[str],
) -> Page:
    """A run, at its end."""
    return Page(
        measured_at=datetime.now(UTC),
        machine=machine,
        device=device,
        matmul_gflops=round(peak / 1e9, 1),
        results=tuple(results_of(outcomes, peak)),
        differences=differences,
        missing=tuple(missing),
    )


def table(page: Page) -> list[tuple[str, ...]]:
    """The head and the lines."""
    return [_HEAD, *(_cells(one) for one in page.results)]


def write(page: Page, folder: Path) -> None:
    """``separation.json``, ``separation.svg`` and ``separation.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(page), indent=2)
    (folder / "separation.json").write_bytes(text + b"\n")
    (folder / "separation.svg").write_text(plot(page))
    (folder / "separation.md").write_text(markdown(page))


def markdown(page: Page) -> str:
    """The document."""
    head, *lines = table(page)
    rule = ("---", "---", "---", *("--:" for _ in head[3:]))
    rows = [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]
    same = [
        f"- {seconds} s: the largest difference of any sample of Stembus' stems (exact, warm) to"
        f" demucs's own is {found:.1e}."
        for seconds, found in page.differences.items()
    ]
    return "\n".join(
        [
            "# Separation, measured",
            "",
            (
                f"Written by `make bench-separation` on {page.measured_at:%d %B %Y};"
                " as JSON: [separation.json](separation.json)."
            ),
            "",
            f"> {page.machine}",
            (
                f"> Computed on {page.device}, whose float32 matrix products reach"
                f" {page.matmul_gflops:.0f} GFLOP/s."
            ),
            *(["", "**The machine was busy: times are too long.**"] if page.machine.busy else []),
            "",
            (
                "htdemucs at its full size with random weights (a window is 218 GFLOP), made songs,"
                " no shifts, 32-bit float files. *Cold* is the whole command, from its start to the"
                " stems on the disk; *warm* is a song given to what runs and has its model in"
                " memory: for demucs and audio-separator their Python API, for Stembus a submission"
                " over HTTP until the job has completed. Two workers have two songs and share the"
                " cores out. Memory is the peak of all processes together. The last column is how"
                " often Stembus (or whoever stands in the line) does it while demucs does it once."
                " The peak has the start in it, and of Stembus the whole stack; audio-separator"
                " reads its model anew for each song; where there are several measurements in the"
                " JSON, this is their median."
            ),
            "",
            *rows,
            "",
            "![seconds by contender](separation.svg)",
            "",
            *same,
            *(f"- {sentence}" for sentence in page.missing),
            "",
        ]
    )


def plot(page: Page) -> str:
    """Bars of times real time, as SVG."""
    most = max((one.real_time for one in page.results), default=1.0)
    height = _LINE * (len(page.results) + 1)
    bars = []
    for place, one in enumerate(page.results):
        y, width = place * _LINE + 6, one.real_time / most * _BAR
        name = f"{one.case.workers} x {one.case.seconds} s, {one.case.start}: {one.case.who}"
        if one.case.precision is not type(one.case.precision).EXACT:
            name += f" ({one.case.precision})"
        bars += [
            f'<text x="{_NAMES - 8}" y="{y + 12}" text-anchor="end">{name}</text>',
            (
                f'<rect x="{_NAMES}" y="{y}" width="{width:.1f}" height="{_LINE - 6}"'
                f' fill="{_COLOURS[one.case.who]}"/>'
            ),
            f'<text x="{_NAMES + width + 6:.1f}" y="{y + 12}">{one.real_time:.2f} x</text>',
        ]
    width = _NAMES + _BAR + 70
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
                ' font-family="sans-serif" font-size="12">'
            ),
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *bars,
            "</svg>",
            "",
        ]
    )


def _cells(one: Result) -> tuple[str, ...]:
    case = one.case
    warm = "warm" if case.start is Start.WARM else "cold"
    seconds = median(one.walls)
    return (
        case.who.value,
        warm,
        case.precision.value,
        f"{case.workers} x {case.seconds} s",
        f"{seconds:.1f}",
        f"{one.windows_per_second:.2f}",
        f"{one.real_time:.2f}",
        f"{one.of_peak:.0%}",
        f"{one.pss / _GIB:.1f} GiB",
        f"{one.demucs_ratio:.2f} x" if one.demucs_ratio else "",
    )
