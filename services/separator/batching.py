"""Which windows the model is given together: of any chunks, of any jobs.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared.contracts.audio import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(NamedTuple):
    """Windows of one kind can be run together: one network, one length, one precision."""

    digest: str
    #: The network's place in its bag.
    member: int
    valid_frames: int
    precision: Precision


class Share(NamedTuple):
    """How many of a queue's first windows go into a batch."""

    queue: int
    windows: int


def choose(queues: Sequence[Sequence[Kind]], most: int) -> list[Share]:
    """The next batch: at most ``most`` windows of the kind that the oldest queue wants next.

    ``queues`` are the kinds of the windows that each chunk still wants, in its order, the
    oldest chunk first.  Of each chunk only a run at its beginning is taken, so the windows of
    a chunk are always run in order; a chunk that came later fills up what is left.
    """
    wanted = next((queue[0] for queue in queues if queue), None)
    shares: list[Share] = []
    for index, queue in enumerate(queues):
        taken = 0
        while most and taken < len(queue) and queue[taken] == wanted:
            taken += 1
            most -= 1
        if taken:
            shares.append(Share(index, taken))
    return shares
