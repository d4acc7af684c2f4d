"""The lease: one owner at a time, and never long without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.jetstream import lease as lease_module
from shared.jetstream.lease import Lease
from shared.jetstream.topology import LEASE_SECONDS

#: A standby asks again this often here.
EAGER = 0.1

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RENEW_SECONDS", "STANDBY_SECONDS"):
        monkeypatch.setattr(lease_module, name, EAGER)


def leases(nc: Client) -> tuple[Lease, Lease]:
    return Lease(nc, "scheduler", "first"), Lease(nc, "scheduler", "second")


async def test_nobody_holds_it_unasked(nc: Client) -> None:
    assert not Lease(nc, "scheduler", "first").held


async def test_one_holds_it_and_another_waits_until_it_is_released(nc: Client) -> None:
    first, second = leases(nc)
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    done, _ = await asyncio.wait({waiting}, timeout=5 * EAGER)
    assert (set(), True, False) == (done, first.held, second.held)
    await first.release()
    assert not first.held
    await asyncio.wait_for(waiting, LEASE_SECONDS / 3)
    assert second.held


async def test_of_many_who_want_it_at_once_one_gets_it(nc: Client) -> None:
    rivals = [Lease(nc, "scheduler", f"rival-{number}") for number in range(8)]
    tasks = [asyncio.create_task(rival.acquire()) for rival in rivals]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(3 * EAGER)
    held = [rival.held for rival in rivals]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(held) == 1


async def test_a_standby_takes_over_when_the_holder_has_fallen_silent_and_not_before(
    nc: Client,
) -> None:
    first, second = leases(nc)
    loop = asyncio.get_running_loop()
    await first.acquire()
    renewed = loop.time()
    await asyncio.wait_for(second.acquire(), LEASE_SECONDS * 2)
    assert loop.time() - renewed > LEASE_SECONDS - 0.5
    assert (first.held, second.held) == (False, True)
    # What it once held it can't renew: it notices at its next try.
    assert not await first._write()
    assert second.held


async def test_a_holder_keeps_it_by_renewing(nc: Client) -> None:
    first, second = leases(nc)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.wait({keeping, waiting}, timeout=8 * EAGER)
    assert (first.held, keeping.done(), waiting.done()) == (True, False, False)
    keeping.cancel()
    await first.release()
    await asyncio.wait_for(waiting, LEASE_SECONDS / 3)


async def test_a_holder_whose_lease_was_taken_stops_keeping_it(
    nc: Client, js: JetStreamContext
) -> None:
    first, _ = leases(nc)
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await js.publish("$KV.leases.scheduler", b"somebody else")
    await asyncio.wait_for(keeping, LEASE_SECONDS / 3)
    assert not first.held


async def test_a_holder_whose_renewals_get_lost_stops_trusting_it_before_it_expires(
    nc: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = leases(nc)
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 1.5)
    await first.acquire()

    async def lost(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(first._js, "publish", lost)
    await asyncio.wait_for(first.keep(), 3)
    assert not first.held


async def test_who_released_it_can_have_it_again(nc: Client) -> None:
    first, _ = leases(nc)
    for _ in range(2):
        await asyncio.wait_for(first.acquire(), LEASE_SECONDS / 3)
        assert first.held
        await first.release()


async def test_a_release_said_late_takes_it_from_nobody(nc: Client, js: JetStreamContext) -> None:
    first, second = leases(nc)
    await first.acquire()
    await js.publish("$KV.leases.scheduler", b"second")
    await second.acquire()
    assert first.held  # as far as its clock tells
    await first.release()
    assert (await js.get_last_msg("KV_leases", "$KV.leases.scheduler")).data == b"second"


async def test_a_release_in_the_middle_of_a_renewal_releases_it(nc: Client) -> None:
    first, second = leases(nc)
    await first.acquire()
    known = first._revision
    assert await first._write()
    first._revision = known  # whoever renewed was cancelled before it was confirmed
    await first.release()
    await asyncio.wait_for(second.acquire(), LEASE_SECONDS / 3)


async def test_a_confirmation_that_got_lost_does_not_lock_its_holder_out(
    nc: Client, js: JetStreamContext
) -> None:
    await js.publish("$KV.leases.scheduler", b"first")
    first, _ = leases(nc)
    await asyncio.wait_for(first.acquire(), LEASE_SECONDS / 3)
    assert first.held
