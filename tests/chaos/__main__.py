"""``python -m tests.chaos [--seed N] [--short] [--json FILE] [--keep DIR]``: exits 1 if wrong."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic

import msgspec
from rich.console import Console

from tests.chaos.run import LONG, SHORT, chaos


def main() -> int:
    """Run it once."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed's faults and orders")
    parser.add_argument("--short", action="store_true", help="the size that `make test` runs")
    parser.add_argument("--json", type=Path, help="write the report there as JSON")
    parser.add_argument("--keep", type=Path, help="folder for data and logs, to be looked into")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    folder = (given.keep or Path(mkdtemp(prefix="stembus-chaos-"))).resolve()
    console = Console(width=100, highlight=False)
    console.print(f"chaos with seed {seed} in {folder}", markup=False, soft_wrap=True)
    began = monotonic()

    def say(text: str) -> None:
        console.print(f"[{monotonic() - began:6.1f}] {text}", markup=False, soft_wrap=True)

    report = chaos(folder, seed, SHORT if given.short else LONG, say)
    report.show(console)
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if report.wrong:
        console.print(f"Replay with --seed {seed}; logs are in {folder}/data/logs")
    elif given.keep is None:
        rmtree(folder)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
