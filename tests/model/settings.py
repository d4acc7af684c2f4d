"""Which stories are told, and how many: ``STEMBUS_MODEL_EXAMPLES=5000`` for a night's worth."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.model.story import ACTIONS

if TYPE_CHECKING:
    from random import Random

    from hypothesis.strategies import SearchStrategy

    from tests.model.story import Step

EXAMPLES: Final = int(os.environ.get("STEMBUS_MODEL_EXAMPLES", "60"))
#: Of a planted fault: it has to be found within so many.
ENOUGH: Final = 100

#: A story that fails is made shorter by ``told``, which knows how.
CHECKED: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=(HealthCheck.too_slow,),
)
FAULTY: Final = settings(CHECKED, max_examples=ENOUGH, report_multiple_bugs=False)


def stories(actions: tuple[str, ...], longest: int = 100) -> SearchStrategy[list[Step]]:
    """Lists of these, all of them as often, so that rare things come together as well."""

    def steps(chance: Random) -> list[Step]:
        count = chance.randint(longest // 3, longest)
        return [
            (chance.choice(actions), chance.randrange(1000), chance.randrange(1000))
            for _ in range(count)
        ]

    return st.randoms(use_true_random=True).map(steps)


def with_more(*more: str) -> SearchStrategy[list[Step]]:
    """Anything, and these more often."""
    return stories((*ACTIONS, *more * 8))


STORIES: Final = stories(ACTIONS)
#: Turns are given all the time, and people meddle little.
MANY_OWNERS: Final = stories(
    (
        *("submit",) * 8,
        *("submit batch",) * 2,
        *("deliver",) * 12,
        *("think",) * 8,
        *("take",) * 8,
        *("done",) * 8,
        *("hold", "release", "retryable", "cancel", "retry"),
    ),
    120,
)
#: Long songs are separated, and short ones come all the time.
MANY_CHUNKS: Final = stories(
    (
        *("submit",) * 2,
        *("deliver",) * 10,
        *("think",) * 10,
        *("take",) * 10,
        *("done",) * 10,
        "retryable",
    ),
    120,
)
_TWINS: Final = (
    *("submit",) * 4,
    *("cancel",) * 4,
    *("deliver",) * 12,
    *("think",) * 10,
    *("take",) * 8,
    *("done",) * 8,
    *("retry", "delete", "hold", "release", "terminal", "lost", "late", "twice"),
    *("take over", "crash in a message", "crash in thought", "all goes well"),
)
#: Jobs that want the same come, and are called off at whatever stage; or taken up again as well.
TWINS: Final = stories(_TWINS, 140)
TWINS_RETRIED: Final = stories((*_TWINS, *("retry",) * 8), 140)
#: The same while tracks and chunks get lost all the time.
TWINS_LOST: Final = stories((*_TWINS, *("lost",) * 8), 140)
#: Runs are left and taken over all the time, and nothing else happens.
HEIRS: Final = stories(
    (
        *("submit",) * 6,
        *("cancel",) * 4,
        *("deliver",) * 14,
        *("think",) * 4,
        *("take",) * 6,
        *("done",) * 8,
        "all goes well",
    ),
    140,
)
#: Owners die and are replaced while messages of one job are handled in any order.
DYING: Final = stories(
    (
        *("submit", "take over", "take over", "deliver any", "deliver any", "think"),
        *("take", "take", "done", "done", "all goes well", "crash in a message"),
    ),
)
