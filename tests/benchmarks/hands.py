"""Workers that answer at once: real orders, real facts, no audio.

``python -m tests.benchmarks.hands`` takes all stages' work over the real bus, with the very
worker that downloader and separator are built on; only what they would do is left out.  Each
unit reports eight times how far it is, as the alternatives' steps do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.contracts.live import Activity
from shared.contracts.work import (
    STAGE_OF,
    DownloadWork,
    FinalizeWork,
    PrepareWork,
    SeparateWork,
    Stage,
    SweepWork,
)
from shared.crew import hire
from shared.service import main
from shared.settings import ServiceConfig
from tests.support.jobs import fact_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from shared.actor.worker import Report
    from shared.contracts.facts import Fact
    from shared.service import Part, Resources

#: Chunks of every job: what DESIGN §8 counts with.
CHUNKS: Final = 8
#: Reports that each unit gives of itself.
REPORTS: Final = 8
#: Units of each stage that are taken at once.
SLOTS: Final = 8

_KINDS: Final[dict[Stage, Any]] = {
    Stage.DOWNLOAD: DownloadWork,
    Stage.SEPARATE: PrepareWork | SeparateWork,
    Stage.FINALIZE: FinalizeWork | SweepWork,
}
_ACTIVITIES: Final = {
    Stage.DOWNLOAD: Activity.FETCHING,
    Stage.SEPARATE: Activity.SEPARATING,
    Stage.FINALIZE: Activity.ENCODING,
}


class Hand:
    """Performs any work in no time."""

    async def perform(
        self,
        work: DownloadWork | PrepareWork | SeparateWork | FinalizeWork | SweepWork,
        report: Report,
    ) -> Fact | None:
        """See ``Performer``."""
        for number in range(REPORTS):
            report(_ACTIVITIES[STAGE_OF[type(work)]], (number + 1) / REPORTS)
        return None if isinstance(work, SweepWork) else fact_of(work, CHUNKS)


async def assemble(
    config: ServiceConfig, resources: Resources, stack: AsyncExitStack
) -> Sequence[Part]:
    """One crew for each stage."""
    parts: list[Part] = []
    for stage, kind in _KINDS.items():
        crew = await hire(
            resources,
            stack,
            stage=stage,
            kind=kind,
            performer=Hand(),
            slots=SLOTS,
            grace=config.grace_seconds,
        )
        parts += crew
    return parts


if __name__ == "__main__":
    main("hands", ServiceConfig, assemble)
