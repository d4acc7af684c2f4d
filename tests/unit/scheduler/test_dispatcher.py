"""What the dispatcher remembers from one choice to the next, and what it tells of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.decision import Dispatched, Granted
from services.scheduler.dispatcher import QueueLimits
from services.scheduler.pace import UNKNOWN_WAIT
from shared.contracts.commands import Accepted, CancelJob, HoldJob, Refused, Reply
from shared.contracts.live import Beat
from shared.contracts.problem import Problem
from shared.contracts.request import Options
from shared.contracts.work import UNIT_SOURCE, SeparateWork, Stage
from shared.errors import Code, RetryableError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW

if TYPE_CHECKING:
    from services.scheduler.actor import Own
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

SLOW_DOWN = Problem.of(RetryableError(Code.SOURCE_RATE_LIMITED))
MANY = {Stage.DOWNLOAD: 9, Stage.SEPARATE: 2, Stage.FINALIZE: 1}


async def obey(realm: Realm) -> list[Own]:
    """Everything that the scheduler tells itself now, told."""
    decisions = realm.scheduler.decisions()
    for decision in decisions:
        await realm.scheduler.receive(decision)
    return decisions


@pytest.mark.parametrize(
    ("limits", "owner", "code"),
    [
        (QueueLimits(max_waiting=2), "another", Code.QUEUE_FULL),
        (QueueLimits(max_waiting_per_owner=2), "", Code.QUEUE_OWNER_FULL),
        (QueueLimits(max_waiting_per_owner=2), "another", None),
        (QueueLimits(max_waiting=3), "", None),
    ],
)
async def test_over_the_limit_a_submission_is_refused(
    new_realm: NewRealm, limits: QueueLimits, owner: str, code: Code | None
) -> None:
    realm = new_realm(queue=limits)
    await realm.scheduler.receive(jobs.submit("a", run_at=LATER))
    await realm.scheduler.receive(jobs.submit("b"))
    await realm.scheduler.receive(HoldJob(job_id="b"))
    command = replace(jobs.submit("c", owner=owner, reply_to="x"), answer_by=LATER)
    (reply,) = await realm.scheduler.receive(command)
    assert isinstance(reply, Reply)
    if code is None:
        assert isinstance(reply.answer, Accepted)
        return
    assert isinstance(reply.answer, Refused)
    problem = reply.answer.problem
    assert (problem.code, problem.retryable, problem.retry_after) == (code, True, UNKNOWN_WAIT)


async def test_what_has_started_does_not_wait_any_more(new_realm: NewRealm) -> None:
    realm = new_realm(queue=QueueLimits(max_waiting=1))
    await realm.scheduler.receive(jobs.submit("a"))
    assert realm.dispatcher.room("") == 0
    await realm.scheduler.receive(Dispatched("a"))
    assert realm.dispatcher.room("") == 1


async def test_owners_take_turns_from_one_choice_to_the_next(new_realm: NewRealm) -> None:
    realm = new_realm(queue=QueueLimits(max_processing=9))
    for owner in "aab":
        count = len(realm.store.jobs())
        await realm.scheduler.receive(jobs.submit(f"{owner}{count}", owner=owner))
    started = []
    for _ in range(3):
        (decision,) = await obey(realm)
        assert isinstance(decision, Dispatched)
        started.append(decision.job_id)
        await realm.scheduler.receive(jobs.downloaded(job_id=decision.job_id))
    assert started == ["a0", "b2", "a1"]


async def test_a_site_that_says_slow_down_is_left_alone_and_then_tried_by_one(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(slots=MANY, queue=QueueLimits(max_processing=9))
    await realm.scheduler.receive(jobs.submit("a"))
    await obey(realm)
    no = jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE, job_id="a", problem=SLOW_DOWN)
    await realm.scheduler.receive(no)
    for name in "bc":
        await realm.scheduler.receive(jobs.submit(name))
    await realm.scheduler.receive(jobs.submit("d", url="https://other.example/1"))
    assert realm.scheduler.decisions() == [Dispatched("d")]
    queue = realm.scheduler.queue()
    assert queue.hindered == dict.fromkeys("bc", Code.SOURCE_SITE_PAUSED)
    assert [pause.site for pause in queue.pauses] == ["example.org"]
    # The one that was refused waits for as long as the site is left alone.
    assert realm.scheduler.next_due() == 30.0
    await realm.scheduler.receive(CancelJob(job_id="a"))
    realm.forward(30.0)
    assert {Dispatched("b"), Dispatched("d")} == set(await obey(realm))
    assert realm.scheduler.decisions() == []
    await realm.scheduler.receive(jobs.downloaded(job_id="b"))
    assert [Dispatched("c")] == realm.scheduler.decisions()


async def test_a_fact_that_nobody_awaits_teaches_nothing_of_its_site(realm: Realm) -> None:
    await realm.scheduler.receive(jobs.submit())
    no = jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE, problem=SLOW_DOWN)
    await realm.scheduler.receive(no)
    await realm.scheduler.receive(Dispatched(JOB))
    await realm.scheduler.receive(replace(no, attempt=7))
    assert realm.dispatcher.sites.pauses(NOW) == ()
    await realm.scheduler.receive(no)
    await realm.scheduler.receive(no)
    (pause,) = realm.dispatcher.sites.pauses(NOW)
    assert (pause.until - NOW).total_seconds() == 30.0


async def separating(realm: Realm, job_id: str, chunks: int) -> int:
    """Bring a job up to its chunks; the number of those that are ordered at once."""
    # Here all songs have the same track: none is to get what came of another.
    for message in (
        jobs.submit(job_id, options=Options(reuse=False)),
        Dispatched(job_id),
        jobs.downloaded(chunks=chunks, job_id=job_id),
    ):
        await realm.scheduler.receive(message)
    words = await realm.scheduler.receive(jobs.prepared(chunks=chunks, job_id=job_id))
    return sum(isinstance(word, SeparateWork) for word in words)


async def test_chunks_of_all_jobs_together_are_as_many_as_the_slots(new_realm: NewRealm) -> None:
    realm = new_realm(slots=MANY)
    assert await separating(realm, "long", 9) == 2
    assert await separating(realm, "short", 2) == 0
    assert realm.scheduler.decisions() == []
    # The slot that gets free is the short one's.
    assert list(await realm.scheduler.receive(jobs.separated(0, job_id="long"))) == []
    assert [Granted("short")] == await obey(realm)
    realm.slots[Stage.SEPARATE] = 4
    realm.beat()
    assert {Granted("short"), Granted("long")} == set(await obey(realm))
    assert realm.scheduler.decisions() == []


async def test_while_no_separator_is_there_one_chunk_waits_for_the_first(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(slots={Stage.DOWNLOAD: 1})
    assert await separating(realm, "a", 9) == 1
    assert realm.scheduler.queue().absent == (Stage.SEPARATE, Stage.FINALIZE)


async def test_the_queue_is_told_in_the_order_of_the_turns(realm: Realm) -> None:
    for name in "abc":
        await realm.scheduler.receive(jobs.submit(name))
    await realm.scheduler.receive(HoldJob(job_id="b"))
    queue = realm.scheduler.queue()
    assert (queue.order, queue.waiting, queue.at) == (("a", "c"), 2, NOW)
    assert (queue.stalled, queue.hindered, queue.pauses, queue.rate) == (None, {}, (), None)


@pytest.mark.parametrize(
    ("slots", "ailment", "stalled"),
    [
        (1, None, None),
        (0, Code.STORAGE_LOW, Code.STORAGE_LOW),
        (0, None, Code.SERVICE_NO_WORKERS),
    ],
)
async def test_why_nothing_can_start_is_told(
    new_realm: NewRealm, slots: int, ailment: Code | None, stalled: Code | None
) -> None:
    realm = new_realm(slots={Stage.SEPARATE: 1})
    if slots or ailment:
        beat = Beat(worker="d", stage=Stage.DOWNLOAD, slots=slots, busy=0, ailment=ailment)
        realm.fleet.heard(beat, 0.0)
    assert stalled == realm.scheduler.queue().stalled


async def test_how_fast_jobs_leave_is_learnt_from_their_ends(realm: Realm) -> None:
    for name in "ab":
        await separating(realm, name, 1)
        realm.forward(10.0)
        await realm.scheduler.receive(jobs.separated(0, job_id=name))
        await realm.scheduler.receive(jobs.finalized(job_id=name))
    queue = realm.scheduler.queue()
    assert queue.rate == pytest.approx(0.1)
    assert queue.run_seconds == 10.0


async def test_who_takes_over_knows_nothing_of_turns_taken_before(new_realm: NewRealm) -> None:
    realm = new_realm()
    await realm.scheduler.receive(jobs.submit("a", owner="a"))
    await obey(realm)
    await realm.scheduler.take_over()
    assert realm.dispatcher._shares == {}
