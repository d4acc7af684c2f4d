"""What other jobs have done, or are at, that a decision on one may take or has to heed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.scheduler.decision import Answered, Dispatched, Due, LeaderEnded, Others
from services.scheduler.rules.sharing import leads
from services.scheduler.wishes import (
    aim_of,
    result_of,
    same_stems,
    source_key,
    still_offered,
    still_right,
    wish_key,
    wish_of,
)
from shared.contracts.commands import CancelJob, SubmitJob
from shared.contracts.facts import Downloaded, Failed, Prepared
from shared.contracts.job import Job, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from services.scheduler.decision import Stimulus
    from services.scheduler.fleet import Fleet
    from services.scheduler.records import Records
    from shared.contracts.audio import Metadata, Track
    from shared.contracts.request import Options, Source

#: Records that are read at most to find one that can be taken: the newest is, nearly always.
TRIED: Final = 3
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NONE: Final = Others()


class Precedents:
    """Looks for other jobs of the same song: among the unfinished, and in the archive."""

    def __init__(
        self,
        *,
        records: Records,
        fleet: Fleet,
        steady: Callable[[], float],
        reuse_seconds: float,
    ) -> None:
        self._records = records
        self._ledger = records.ledger
        self._fleet = fleet
        self._steady = steady
        self._reuse_seconds = reuse_seconds

    async def of(self, job: Job | None, message: Stimulus, now: datetime) -> Others:
        """What a decision on ``message`` about ``job`` needs to know of others."""
        if job is None:
            return (
                await self._of_submission(message, now) if isinstance(message, SubmitJob) else _NONE
            )
        if isinstance(message, (Dispatched, Answered)):
            free = job.status is Status.PENDING and leads(job) and job.options.reuse
            return await self._of_turn(job, now) if free else _NONE
        if isinstance(message, (LeaderEnded, CancelJob, Due)) and job.follows is not None:
            leader = (await self._records.job(job.follows)).job
            return Others(leader=leader, successor=await self._successor(leader))
        unclaimed = self._unclaimed(job)
        if isinstance(message, (Downloaded, Prepared)):
            planned = _planned(job, message)
            fresh = isinstance(message, Prepared)
            found = await self._of_result(planned, fresh=fresh) if job.options.reuse else _NONE
            return replace(found, unclaimed=unclaimed)
        heir = self._heir(job) if isinstance(message, (CancelJob, Failed, Due)) else ""
        return Others(heir=heir, unclaimed=unclaimed)

    async def _of_submission(self, command: SubmitJob, now: datetime) -> Others:
        run_at = command.terms.run_at
        if not command.options.reuse or (run_at is not None and run_at > now):
            return _NONE
        return await self._found(command.source, command.options, "", now)

    async def _of_turn(self, job: Job, now: datetime) -> Others:
        """What there is for a job whose turn it is."""
        found = await self._found(job.source, job.options, job.id, now)
        if found.made is not None or found.leader is not None or job.plan is None:
            return found
        fetched = found.fetched
        if job.track is None and fetched is not None and fetched.track is not None:
            job = _with_former(job, fetched.track, fetched.metadata)
        return replace(await self._of_result(job, fresh=False), fetched=fetched)

    async def _of_result(self, job: Job, *, fresh: bool) -> Others:
        """What there is for a planned job: what it comes to, or who is at work on that.

        The same song may have come by another address, the same model under another name.
        A plan that is not ``fresh`` may be one by weights that the model does not have any more.
        """
        result = result_of(job)
        if result is None or job.plan is None:
            return _NONE
        if not fresh and not still_offered(job.plan, self._fleet.offers(self._steady())):
            return _NONE
        if made := await self._with_result(result):
            return Others(made=made)
        ids = self._ledger.relations.with_result(result)
        leader = self._at_work(ids, job.id)
        if leader is None and job.status is Status.PROCESSING and not job.chunks_done:
            # One that is about to go on with what another has left comes first.
            known = map(self._ledger.waiting.get, ids)
            heirs = [one for one in known if one and one.front_at and one.chunks_done]
            leader = min(heirs, key=_age, default=None)
        return Others(leader=leader)

    async def _found(self, source: Source, options: Options, job_id: str, now: datetime) -> Others:
        """What there is for a job that is about to begin."""
        since = self._since(source, now)
        wish = wish_key(source, options)
        if made := await self._made(wish, since):
            return Others(made=made)
        if leader := self._at_work(self._ledger.relations.with_wish(wish), job_id):
            return Others(leader=leader)
        return Others(fetched=await self._fetched(source_key(source), job_id, since))

    def _since(self, source: Source, now: datetime) -> datetime:
        """A track that was downloaded before may be another song by now."""
        if source.url is None:
            return _EVER
        return now - timedelta(seconds=self._reuse_seconds)

    async def _made(self, wish: str, since: datetime) -> Job | None:
        """The newest completed job with this wish, if it is what would be made now."""
        offers = self._fleet.offers(self._steady())
        async for job in self._load(self._records.archive.made(wish, TRIED)):
            if (
                job.status is Status.COMPLETED
                and wish_of(job) == wish
                and _fetched_since(job, since)
                and still_right(job, offers)
            ):
                return job
        return None

    async def _with_result(self, result: str) -> Job | None:
        async for job in self._load(self._records.archive.with_result(result, TRIED)):
            if job.result is not None and job.result.id == result:
                return job
        return None

    def _at_work(self, ids: Iterable[str], but: str) -> Job | None:
        """Of these jobs, and not that one, who is at work; the oldest if there are several."""
        processing = self._ledger.processing
        those = [processing[one] for one in ids if one in processing and one != but]
        return min(those, key=_age, default=None)

    async def _fetched(self, source: str, but: str, since: datetime) -> Job | None:
        """A job with the track of this source: an unfinished one, or the newest that has ended."""
        for job_id in sorted(self._ledger.relations.with_track(source)):
            known = self._ledger.get(job_id)
            if known and job_id != but and _fetched_since(known[1], since):
                return known[1]
        async for job in self._load(self._records.archive.fetched(source, TRIED)):
            if job.id != but and job.track is not None and _fetched_since(job, since):
                return job
        return None

    def _heir(self, job: Job) -> str:
        """Who goes on with its run, should it end: of those who follow and may start, the first."""
        if job.status.terminal:
            return ""
        known = map(self._ledger.get, self._ledger.relations.followers(job.id))
        those = (
            found[1]
            for found in known
            if found and found[1].held_at is None and same_stems(aim_of(found[1]), aim_of(job))
        )
        heir = min(those, key=_age, default=None)
        return heir.id if heir is not None else ""

    def _unclaimed(self, job: Job) -> bool:
        legacy = job.legacy
        return legacy is not None and legacy.heir in self._ledger.relations.followers(job.id)

    async def _successor(self, leader: Job | None) -> str:
        """Whom those follow that the leader did not leave its run to."""
        if leader is None or leader.legacy is None:
            return ""
        heir = (await self._records.job(leader.legacy.heir)).job
        if heir is None:
            return ""
        # It may not have come for it yet: it is about to.
        goes_on = leads(heir) or (heir.follows == leader.id and heir.held_at is None)
        return heir.id if goes_on and wish_of(heir) == wish_of(leader) else ""

    async def _load(self, ids: Iterable[str]) -> AsyncIterator[Job]:
        for job_id in ids:
            if (job := (await self._records.job(job_id)).job) is not None:
                yield job


def _fetched_since(job: Job, since: datetime) -> bool:
    """Whether its track was downloaded after a time; of an old record its start tells."""
    return (job.fetched_at or job.started_at or job.created_at) > since


def _planned(job: Job, fact: Downloaded | Prepared) -> Job:
    """``job`` with what a worker tells of it, as far as that makes it planned."""
    if isinstance(fact, Prepared):
        return replace(job, plan=fact.plan)
    return _with_former(job, fact.track, fact.metadata)


def _with_former(job: Job, track: Track, metadata: Metadata | None) -> Job:
    """``job``, which had a track once, with this one if it is the same: else its plan is no use."""
    same = job.former_track == track.id
    return replace(job, track=track if same else None, metadata=metadata)


def _age(job: Job) -> tuple[datetime, str]:
    return job.created_at, job.id
