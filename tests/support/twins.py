"""Jobs that ask for the same, and a scheduler that is told of them step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from services.scheduler.decision import Dispatched, Others
from shared.contracts.commands import CancelJob, SubmitJob
from shared.contracts.job import Job, Status
from shared.contracts.request import Options
from shared.contracts.work import DownloadWork, FinalizeWork, PrepareWork, SeparateWork, Stage, Word
from tests.support import jobs
from tests.support.jobs import JOB, LATER, fact_of, live

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.scheduler.actor import Own
    from shared.contracts.commands import Reply
    from tests.support.realm import Realm

#: The song of ``jobs.submit()``.
URL: Final = "https://example.org/a.mp3"
#: Workers for all.
SLOTS: Final[Mapping[Stage, int]] = {Stage.DOWNLOAD: 9, Stage.SEPARATE: 2, Stage.FINALIZE: 1}


def other(job: Job) -> Job:
    """The same of another job."""
    return replace(job, id="other")


#: One of that song that has completed, one that is being processed.
MADE: Final = other(jobs.completed())
LEADER: Final = other(jobs.separating(1))


def twin(job_id: str, *, reuse: bool = True, later: bool = False) -> SubmitJob:
    """A submission of that song; ``later``: not to be started now."""
    run_at = LATER if later else None
    return jobs.submit(job_id, url=URL, options=Options(reuse=reuse), run_at=run_at)


def follower(job: Job | None = None) -> Job:
    """A job that follows ``LEADER``."""
    return live(job or jobs.pending(), Dispatched(JOB), others=Others(leader=LEADER))


def bequeathing(job: Job, *, heir: str = JOB) -> Job:
    """``job`` of another id, cancelled while one follows."""
    ended = live(other(job), CancelJob(job_id="other"), others=Others(heir=heir))
    assert ended.legacy is not None
    return ended


async def obey(realm: Realm) -> list[Own]:
    """Everything that the scheduler tells itself now, told."""
    decisions = realm.scheduler.decisions()
    for decision in decisions:
        await realm.scheduler.receive(decision)
    return decisions


async def at_work(realm: Realm, job_id: str = "leader") -> None:
    """A job of that song, being separated."""
    await realm.scheduler.receive(twin(job_id))
    for message in (
        Dispatched(job_id),
        jobs.downloaded(job_id=job_id),
        jobs.prepared(job_id=job_id),
    ):
        await realm.scheduler.receive(message)


async def led(realm: Realm, *followers: str) -> None:
    """A job of that song, being separated, and others that follow it."""
    await at_work(realm)
    for job_id in followers:
        await realm.scheduler.receive(twin(job_id))
        await realm.scheduler.receive(Dispatched(job_id))


async def finish(realm: Realm, words: Sequence[Word | Reply]) -> None:
    """Do the work, and what follows from it."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if isinstance(word, DownloadWork | PrepareWork | SeparateWork | FinalizeWork):
            waiting += await realm.scheduler.receive(fact_of(word))


def statuses(realm: Realm) -> dict[str, tuple[Status, str | None]]:
    """Where each job stands, and whom it follows."""
    return {job.id: (job.status, job.follows) for job in realm.store.jobs()}
