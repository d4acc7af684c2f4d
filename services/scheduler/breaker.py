"""Leaving a site alone that has refused us, and it alone.

Closed: everything goes.  Open, after one "slow down" or several refusals in a row: nothing is
started until a time.  Then half-open: one job tries; if it gets through, the breaker closes,
if it is refused, the next pause is twice as long.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct

from shared.contracts.facts import Downloaded, Failed
from shared.contracts.live import Pause
from shared.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.contracts.job import Job
    from shared.contracts.problem import Problem

#: Sites and hosts that are remembered; the least lately heard of is forgotten.
REMEMBERED: Final = 1_000
#: Extractors that stand for no site in particular.
_NO_SITE: Final = frozenset({"generic", "upload"})


class BreakerLimits(Struct, frozen=True, kw_only=True):
    """When a site is left alone, and for how long."""

    #: Refusals in a row that open the breaker; one "slow down" (429) is enough.
    refusals: int = 3
    #: Seconds of the first pause, doubled for each further one, and of the longest.
    first_pause: float = 30.0
    longest_pause: float = 900.0


class Breaker(Struct, frozen=True, kw_only=True):
    """What is known of one site."""

    #: Refusals since it last gave us something.
    refusals: int = 0
    #: Pauses since then.
    pauses: int = 0
    until: datetime | None = None
    code: Code = Code.SOURCE_REFUSED

    def open(self, now: datetime) -> bool:
        """Whether it is left alone now."""
        return self.until is not None and now < self.until

    @property
    def half_open(self) -> bool:
        """Whether a pause is or was on, and nothing has got through since."""
        return self.until is not None


def refused(breaker: Breaker, problem: Problem, now: datetime, limits: BreakerLimits) -> Breaker:
    """The breaker after the site said no."""
    refusals = breaker.refusals + 1
    slow_down = problem.code is Code.SOURCE_RATE_LIMITED
    if breaker.open(now):  # said to what was on its way already
        until = breaker.until
        if slow_down and problem.retry_after and until is not None:
            asked = min(problem.retry_after, limits.longest_pause)
            until = max(until, now + timedelta(seconds=asked))
        return Breaker(refusals=refusals, pauses=breaker.pauses, until=until, code=problem.code)
    if not slow_down and not breaker.half_open and refusals < limits.refusals:
        return Breaker(refusals=refusals, code=problem.code)
    seconds = limits.first_pause * 2**breaker.pauses
    if problem.retry_after:
        seconds = max(seconds, problem.retry_after)
    until = now + timedelta(seconds=min(seconds, limits.longest_pause))
    return Breaker(refusals=refusals, pauses=breaker.pauses + 1, until=until, code=problem.code)


class Sites:
    """The breakers of all sites, and which host belongs to which site."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._site_of: OrderedDict[str, str] = OrderedDict()
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def learn(self, job: Job, fact: Downloaded | Failed, now: datetime) -> None:
        """Take in how a site has answered."""
        host = host_of(job)
        if host is None:
            return
        if isinstance(fact, Downloaded):
            site = site_of(host, fact.metadata.extractor)
            self._remember(host, site)
            self._breakers.pop(site, None)
        elif fact.problem.code in {Code.SOURCE_RATE_LIMITED, Code.SOURCE_REFUSED}:
            site = fact.site or self.site(host)
            self._remember(host, site)
            before = self._breakers.pop(site, Breaker())
            self._breakers[site] = refused(before, fact.problem, now, self._limits)
            if len(self._breakers) > REMEMBERED:
                self._breakers.popitem(last=False)

    def site(self, host: str) -> str:
        """The site of a host, as far as it is known; else the host itself."""
        return self._site_of.get(host, host)

    def paused_until(self, job: Job, now: datetime) -> datetime | None:
        """Until when the job's site is left alone."""
        breaker = self._of(job)
        return breaker.until if breaker and breaker.open(now) else None

    def pauses(self, now: datetime) -> tuple[Pause, ...]:
        """The sites that are left alone now."""
        return tuple(
            Pause(site=site, until=breaker.until, code=breaker.code)
            for site, breaker in self._breakers.items()
            if breaker.until is not None and breaker.open(now)
        )

    def gate(self, downloading: Iterable[Job], now: datetime) -> SiteGate:
        """Who may start, with these jobs' downloads out."""
        return SiteGate(self, {self.name(job) for job in downloading}, now)

    def lets(self, job: Job, busy: set[str | None], now: datetime) -> bool:
        """Whether its site may be asked: not while it is left alone, then by one job."""
        breaker = self._of(job)
        if breaker is None or not breaker.half_open:
            return True
        return not breaker.open(now) and self.name(job) not in busy

    def name(self, job: Job) -> str | None:
        """The site that a job's song comes from; None for an upload."""
        host = host_of(job)
        return None if host is None else self.site(host)

    def _of(self, job: Job) -> Breaker | None:
        name = self.name(job)
        return None if name is None else self._breakers.get(name)

    def _remember(self, host: str, site: str) -> None:
        self._site_of.pop(host, None)
        self._site_of[host] = site
        if len(self._site_of) > REMEMBERED:
            self._site_of.popitem(last=False)


class SiteGate:
    """One round of choosing: a site that is on trial is asked by one job only."""

    def __init__(self, sites: Sites, busy: set[str | None], now: datetime) -> None:
        self._sites = sites
        self._busy = busy
        self._now = now

    def lets(self, job: Job) -> bool:
        """See ``Gate``."""
        if job.track is not None:
            return True  # it has what it wanted of the site
        if not self._sites.lets(job, self._busy, self._now):
            return False
        self._busy.add(self._sites.name(job))
        return True


def host_of(job: Job) -> str | None:
    """The host that a job's song comes from; None for an upload."""
    if job.source.url is None:
        return None
    return urlsplit(job.source.url).hostname


def site_of(host: str, extractor: str | None) -> str:
    """The site that an extractor stands for; else the host."""
    return host if extractor is None or extractor.lower() in _NO_SITE else extractor
