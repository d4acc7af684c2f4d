"""Which windows are run together: the oldest chunk decides, the others fill up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.batching import Kind, Share, choose
from shared.contracts.audio import Precision

A = Kind("a", 0, 100, Precision.EXACT)
#: Each differs from the first in one thing, and may not be run with it.
OTHERS = [
    A._replace(digest="b"),
    A._replace(member=1),
    A._replace(valid_frames=101),
    A._replace(precision=Precision.FAST),
]
B = OTHERS[0]
queues = st.lists(st.lists(st.sampled_from([A, *OTHERS]), max_size=6), max_size=6)


@pytest.mark.parametrize(
    ("waiting", "most", "expected"),
    [
        ([], 4, []),
        ([[], []], 4, []),
        ([[A]], 0, []),
        ([[A, A, A]], 2, [Share(0, 2)]),
        ([[A, A], [A, A]], 3, [Share(0, 2), Share(1, 1)]),
        ([[A, B, A], [A, A]], 4, [Share(0, 1), Share(1, 2)]),
        ([[A], [B, A], [A]], 4, [Share(0, 1), Share(2, 1)]),
        ([[], [B], [A], [B, B]], 4, [Share(1, 1), Share(3, 2)]),
    ],
)
def test_the_oldest_chunk_comes_first_and_later_ones_fill_up(
    waiting: list[list[Kind]], most: int, expected: list[Share]
) -> None:
    assert expected == choose(waiting, most)


@pytest.mark.parametrize("other", OTHERS)
def test_windows_that_differ_in_anything_are_not_mixed(other: Kind) -> None:
    assert choose([[A], [other], [A, other]], 8) == [Share(0, 1), Share(2, 1)]


@given(waiting=queues, most=st.integers(0, 12))
def test_a_batch_is_never_larger_and_of_one_kind(waiting: list[list[Kind]], most: int) -> None:
    shares = choose(waiting, most)
    taken = [kind for share in shares for kind in waiting[share.queue][: share.windows]]
    assert len(taken) == sum(share.windows for share in shares)
    assert len(taken) <= most
    assert len(set(taken)) <= 1
    # Never nothing, where there is something to do.
    assert bool(taken) == bool(most and any(waiting))


@given(waiting=queues, most=st.integers(1, 12))
def test_the_oldest_that_waits_is_always_served_and_room_is_only_left_where_nobody_fits(
    waiting: list[list[Kind]], most: int
) -> None:
    shares = choose(waiting, most)
    served = {share.queue: share.windows for share in shares}
    assert list(served) == sorted(served)
    if not shares:
        return
    oldest = next(index for index, queue in enumerate(waiting) if queue)
    assert shares[0].queue == oldest
    kind = waiting[oldest][0]
    if sum(served.values()) == most:
        # Only the last one may have been cut short.
        whole = shares[:-1]
    else:
        whole = shares
        assert all(
            queue[0] != kind for index, queue in enumerate(waiting) if queue and index not in served
        )
    for share in whole:
        left = waiting[share.queue][share.windows :]
        assert not left or left[0] != kind
