"""How long a submission takes, at a steady rate, every message synced to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.audience import Audience
from tests.benchmarks.plane import GATEWAY, SCHEDULER, new_session, running_plane
from tests.benchmarks.timing import at_once, median, offered, percentile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.report import Report
    from tests.benchmarks.scale import Scale

SUBMITS_A_SECOND: Final = 100
#: Submissions before anything is measured: the lease, imports, connections.
WARM_UP: Final = 32


async def measure(folder: Path, scale: Scale, report: Report) -> None:
    """Submissions over HTTP, offered whatever the answers do."""
    async with running_plane(folder, SCHEDULER, GATEWAY) as plane, new_session() as session:
        audience = Audience(session, plane.url)
        await at_once(audience.store, count=WARM_UP, width=WARM_UP)
        times = await offered(audience.store, count=scale.submits, a_second=SUBMITS_A_SECOND)
    what = f"submit over HTTP → 201, {SUBMITS_A_SECOND}/s offered"
    report.add(f"{what}, p50", median(times), "ms")
    report.add(f"{what}, p99", percentile(times, 99), "ms", wanted="≤ 25")
