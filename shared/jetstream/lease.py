"""The lease: who may act as the one owner.  For liveness; safety is the compare-and-set."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

import nats.js.errors
from nats.js.api import Header

from shared.contracts.subjects import token
from shared.jetstream.connection import broker_errors
from shared.jetstream.topology import LEASE_SECONDS, LEASES_SUBJECT

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

#: How often a holder renews, and how often a standby tries: it shall take over soon after an
#: orderly stop.
RENEW_SECONDS: Final = 1.5
STANDBY_SECONDS: Final = 0.5
#: Seconds that the broker may take to confirm what is written: it is due again by then.
ANSWER_SECONDS: Final = RENEW_SECONDS
#: A holder trusts its lease this much less long than the broker keeps it.
MARGIN_SECONDS: Final = 1.0


class Lease:
    """One key of the leases' bucket, held by whoever last wrote it in time."""

    def __init__(self, nc: Client, key: str, holder: str) -> None:
        self._js: JetStreamContext = nc.jetstream(timeout=ANSWER_SECONDS)
        self._subject = LEASES_SUBJECT + token(key)
        self._holder = holder.encode()
        self._revision = 0
        self._renewed = float("-inf")

    @property
    def held(self) -> bool:
        """Whether it is surely still ours: the clock decides, not the broker."""
        return monotonic() < self._renewed + LEASE_SECONDS - MARGIN_SECONDS

    async def acquire(self) -> None:
        """Wait until it is ours."""
        while not await self._write():  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(STANDBY_SECONDS)

    async def keep(self) -> None:
        """Renew it until it is lost: nobody else can have it before our time is over."""
        while self.held:
            await asyncio.sleep(RENEW_SECONDS)
            await self._write()

    async def release(self) -> None:
        """Let a standby have it now."""
        if not self.held:
            return
        self._renewed = float("-inf")
        # A renewal that was broken off may have taken effect: then its revision is the one.
        if not await self._give_up():
            self._revision = 0
            self._revision = await self._expected()
            if self._revision:
                await self._give_up()

    async def _give_up(self) -> bool:
        """Whether what we know to be ours is nobody's now."""
        headers = {
            "KV-Operation": "PURGE",
            "Nats-Rollup": "sub",
            # Said late, it must not take the lease from whoever has it by then.
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(self._revision),
        }
        try:
            with broker_errors():
                await self._js.publish(self._subject, b"", headers=headers)
        except nats.js.errors.APIError:
            return False
        return True

    async def _write(self) -> bool:
        started = monotonic()
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(await self._expected())}
        try:
            with broker_errors():
                ack = await self._js.publish(self._subject, self._holder, headers=headers)
        except ConnectionError:
            self._revision = 0  # whatever came of it: ask before the next try
            return False
        except nats.js.errors.APIError:
            self._revision = 0
            if await self._expected() == 0:  # it is somebody else's, or nobody's
                self._renewed = float("-inf")
            return False
        self._revision = ack.seq
        self._renewed = started
        return True

    async def _expected(self) -> int:
        """The revision to replace: our own, that of a released lease, or none at all.

        Our own may be one that we don't know of: its confirmation may have got lost.
        """
        if self._revision:
            return self._revision
        try:
            with broker_errors():
                message = await self._js.get_last_msg("KV_leases", self._subject, direct=True)
        except (nats.js.errors.NotFoundError, ConnectionError):
            return 0
        ours = message.data in {b"", None, self._holder}
        return int(message.seq or 0) if ours else 0
