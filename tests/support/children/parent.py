"""A parent that starts a busy child, says its process id, and lives until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shared.child import Child
from shared.contracts.codec import Decoder
from tests.support.children.obedient import Do, Said


async def main() -> None:
    """Never ends by itself."""
    reports: Decoder[Said] = Decoder(Said)
    child: Child[Do, Said] = await Child.start(
        "tests.support.children.obedient",
        reports=reports,
        cwd=Path(sys.argv[1]),
        on_line=lambda _: None,
    )
    async for _ in child.ask(Do("busy"), silence=60):
        print(child.pid, flush=True)  # noqa: T201 - whoever kills us reads it


if __name__ == "__main__":
    asyncio.run(main())
