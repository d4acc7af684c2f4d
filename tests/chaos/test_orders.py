"""What clients ask for: the same seed is the same, and something of everything is in it."""

from __future__ import annotations

import pytest

from tests.chaos.orders import FAILS_WITH, Order, Source, orders

SEEDS = range(20)


def many(seed: int) -> tuple[Order, ...]:
    return orders(seed, count=200, seconds=70.0, songs=24)


def test_a_seed_is_a_list_of_orders_and_another_seed_is_another_one() -> None:
    assert many(7) == many(7)
    assert len({many(seed) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_orders_come_in_order_and_within_the_time(seed: int) -> None:
    found = many(seed)
    times = [order.at for order in found]
    assert times == sorted(times)
    assert max(times) <= 70.0
    assert [order.number for order in found] == list(range(200))
    assert {order.song for order in found} == set(range(24))


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_something_of_everything(seed: int) -> None:
    found = many(seed)
    assert {order.source for order in found} == set(Source)
    assert {order.format for order in found} == {"flac", "mp3", "wav", "opus", "m4a"}
    good = [order for order in found if order.source not in FAILS_WITH]
    assert len([order for order in good if order.cancel_after is None]) >= 100
    cancelled = [order for order in found if order.cancel_after is not None]
    assert {order.retry for order in cancelled} == {True, False}


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_retries_what_neither_fails_nor_is_cancelled(seed: int) -> None:
    for order in many(seed):
        if order.retry:
            assert order.source in FAILS_WITH or order.cancel_after is not None
