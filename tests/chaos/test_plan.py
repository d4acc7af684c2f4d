"""The plan of faults: the same seed is the same plan, and a plan leaves nobody out."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.plan import CARDS, MEMBERS, SHORTEST_FREEZE, Fault, Strike, described, plan

SEEDS = range(20)


def long_plan(seed: int) -> tuple[Strike, ...]:
    return plan(seed, seconds=120.0, pause=1.5, longest_freeze=16.0)


def test_a_seed_is_a_plan_and_another_seed_is_another_plan() -> None:
    assert long_plan(7) == long_plan(7)
    assert len({long_plan(seed) for seed in SEEDS}) == len(SEEDS)


def test_a_plan_is_known_by_heart() -> None:
    """Whoever replays a seed that was printed elsewhere gets what was printed there."""
    first, second, *_ = plan(1, seconds=10.0, pause=1.0, longest_freeze=4.0)
    assert described((first, second)) == (
        "   0.7 s  freeze downloader-1's child for 0.7 s\n   0.7 s  kill separator-1"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_come_in_order_and_within_the_time(seed: int) -> None:
    times = [strike.at for strike in long_plan(seed)]
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] < 120.0


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fault_comes_twice_before_all_came_once(seed: int) -> None:
    strikes = long_plan(seed)
    dealt = [(strike.target, strike.fault) for strike in strikes]
    for start in range(0, len(dealt) - len(CARDS), len(CARDS)):
        assert set(dealt[start : start + len(CARDS)]) == set(CARDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_member_is_killed_restarted_and_frozen(seed: int) -> None:
    counts = Counter(
        (strike.target.member, strike.fault)
        for strike in long_plan(seed)
        if not strike.target.child
    )
    assert counts.keys() == {(member, fault) for member in MEMBERS for fault in Fault}
    assert min(counts.values()) >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_only_a_freeze_lasts_and_not_for_ever(seed: int) -> None:
    for strike in long_plan(seed):
        if strike.fault is Fault.FREEZE:
            assert SHORTEST_FREEZE <= strike.seconds <= 16.0
        else:
            assert strike.seconds == 0.0
        assert 0.0 <= strike.chance <= 1.0


def test_nobody_asks_a_child_to_leave() -> None:
    assert not [card for card in CARDS if card[0].child and card[1] is Fault.RESTART]
