"""``python -m tests.benchmarks.dsp [--out FOLDER]``: how well ``dsp`` separates made mixes."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec
import torch
from msgspec import Struct
from rich.console import Console

from tests.benchmarks.dsp_methods import methods
from tests.benchmarks.dsp_scores import Score, Scores
from tests.support.mixes import KINDS, made

if TYPE_CHECKING:
    from torch import nn

    from tests.support.audio import Audio, Song

_SECONDS: Final = 12.0
#: None of those that the weights were fitted to.
_SEED: Final = 11
_STEMS: Final = ("vocals", "instrumental")


class Row(Struct, frozen=True, kw_only=True):
    """One method on one kind of mix."""

    kind: str
    method: str
    #: Why nothing much can be done here; empty where something can.
    hopeless: str
    stems: dict[str, Score]
    #: Seconds of audio in a second on one core.
    real_time: float


def main() -> None:
    """Measure, print, and write where told to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dsp", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for dsp.json and dsp.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, scores, rows = Console(), Scores(), list[Row]()
    for kind in KINDS:
        song = made(kind, _SECONDS, seed=_SEED)
        for name, module in methods().items():
            stems, seconds = _separated(module, song)
            found = scores.of((song.vocals, song.accompaniment), stems)
            rows.append(
                Row(
                    kind=kind.name,
                    method=name,
                    hopeless=kind.hopeless,
                    stems=dict(zip(_STEMS, found, strict=True)),
                    real_time=round(_SECONDS / seconds, 1),
                )
            )
            console.print(f"{kind.name}, {name}: {found}", highlight=False)
    text = _markdown(rows)
    console.print(text, highlight=False, markup=False)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "dsp.md").write_text(text)
        body = {"seconds": _SECONDS, "seed": _SEED, "rows": rows}
        encoded = msgspec.json.format(msgspec.json.encode(body), indent=2)
        (arguments.out / "dsp.json").write_bytes(encoded + b"\n")


def _separated(module: nn.Module, song: Song) -> tuple[tuple[Audio, Audio], float]:
    """The stems, (frames, 2) each, and the seconds it took."""
    mix = torch.from_numpy(song.mix.T.copy())[None]
    began = perf_counter()
    with torch.inference_mode():
        both = module.eval()(mix)[0]
    took = perf_counter() - began
    return (both[0].T.numpy(), both[1].T.numpy()), took


def _markdown(rows: list[Row]) -> str:
    speeds = sorted(row.real_time for row in rows if row.method == "combined")
    lines = [
        "# The model without weights, measured",
        "",
        f"Written by `python -m tests.benchmarks.dsp` on {datetime.now(UTC):%d %B %Y}; as JSON:",
        "[dsp.json](dsp.json).",
        "",
        f"Made mixes of {_SECONDS:.0f} s (`tests/support/mixes.py`, seed {_SEED}), voice and",
        "accompaniment equally strong. SDR is BSS Eval v4's (museval, the median of frames of a",
        "second); SI-SDR is over the whole mix. All in dB: the unprocessed mix, then the gain over",
        "it. Each method alone has weights of its own; *combined* is what `dsp` does.",
        "",
        f"One core separates {speeds[len(speeds) // 2]:.0f} s of audio in a second.",
    ]
    names = list(dict.fromkeys(row.method for row in rows))
    for title, field in (("SDR", "sdr"), ("SI-SDR", "si_sdr")):
        for stem in _STEMS:
            lines += ["", f"## {title} of {stem}", ""]
            lines += [f"| mix | {' | '.join(names)} |", f"| --- |{' --: |' * len(names)}"]
            for kind in dict.fromkeys(row.kind for row in rows):
                found = [row for row in rows if row.kind == kind]
                values = [getattr(row.stems[stem], field) for row in found]
                mark = " *" if found[0].hopeless else ""
                cells = [f"{values[0]:.1f}", *(f"{one - values[0]:+.1f}" for one in values[1:])]
                lines.append(f"| {kind}{mark} | {' | '.join(cells)} |")
    lines += ["", *_beaten(rows)]
    reasons = dict.fromkeys(row.hopeless for row in rows if row.hopeless)
    lines += ["", *(f"\\* Hopeless: {reason}." for reason in reasons)]
    return "\n".join(lines) + "\n"


def _beaten(rows: list[Row]) -> list[str]:
    """Where something else gives a better voice than all of it together."""
    said = []
    for ours in (row for row in rows if row.method == "combined"):
        rivals = [row for row in rows if row.kind == ours.kind]
        best = max(rivals, key=lambda row: row.stems["vocals"].si_sdr)
        behind = best.stems["vocals"].si_sdr - ours.stems["vocals"].si_sdr
        if behind > 0:
            said.append(f"- {ours.kind}: *{best.method}* gives vocals {behind:.1f} dB better.")
    return ["Where *combined* is not the best, by the SI-SDR of vocals:", "", *said] if said else []


if __name__ == "__main__":
    main()
