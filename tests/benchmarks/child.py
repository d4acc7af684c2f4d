"""A process that is measured, from its start to its stop; one that ends early ends it all."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from services.cli.supervisor import Supervised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Seconds that a process gets to stop by itself.
GRACE: Final = 10.0
#: Characters of what it said last.
_LAST: Final = 2000


async def started(
    folder: Path, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None
) -> Supervised:
    """Start ``command``; its log is in ``folder``."""
    log = folder / f"{name}.log"

    def died(_: str, code: int) -> None:
        last = log.read_text()[-_LAST:]
        sys.stderr.write(f"{last}\n{name} ended with {code}: nothing can be measured\n")
        signal.raise_signal(signal.SIGINT)

    process = Supervised(
        name=name,
        command=command,
        environment={**os.environ, **(settings or {})},
        log=log,
        on_death=died,
    )
    await process.start()
    return process
