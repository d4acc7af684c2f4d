"""Jobs that are found to be about the same only once they are planned share one run, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from msgspec.structs import replace

from services.scheduler.core import advance
from services.scheduler.decision import Dispatched, Granted, LeaderEnded, Others, Repeated, Stale
from services.scheduler.wishes import aim_of, same_stems, wish_of
from shared.contracts.commands import CancelJob, HoldJob, ReleaseJob, RetryJob
from shared.contracts.job import Job, Phase, Status
from shared.contracts.live import Beat, ModelOffer
from shared.contracts.problem import Problem
from shared.contracts.request import Options, Source
from shared.contracts.work import (
    UNIT_PREPARE,
    UNIT_SOURCE,
    UNIT_SWEEP_LEFT,
    SeparateWork,
    Stage,
    StopOrder,
    SweepWork,
)
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, TERMINAL, at, live
from tests.support.twins import (
    LEADER,
    MADE,
    SLOTS,
    at_work,
    bequeathing,
    finish,
    follower,
    obey,
    statuses,
)

if TYPE_CHECKING:
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

MIRROR: Final = "https://mirror.example/b.mp3"
GONE: Final = Problem.of(TerminalError(Code.BLOB_MISSING, "it is gone"))
MODEL_CHANGED: Final = Problem.of(TerminalError(Code.MODEL_CHANGED, "another one"))
ENDED: Final = LeaderEnded(JOB)
TURN: Final = Dispatched(JOB)


def elsewhere(job: Job) -> Job:
    """The same song by another address."""
    return replace(job, source=Source(url=MIRROR))


def another_song(job: Job) -> Job:
    """What its address led to when it was fetched anew."""
    assert job.track is not None
    job = replace(job, track=replace(job.track, id="t2"))
    return replace(job, result=replace(job.result, id="r2")) if job.result else job


def met(job: Job | None = None) -> Job:
    """A job that follows ``LEADER``, which is about the same song by another address."""
    return live(elsewhere(job or jobs.preparing()), jobs.prepared(), others=Others(leader=LEADER))


def test_whoever_is_planned_and_finds_another_at_work_waits_for_it() -> None:
    job = met()
    assert wish_of(job) != wish_of(LEADER)
    assert same_stems(aim_of(job), aim_of(LEADER))
    assert (job.status, job.phase, job.follows) == (Status.PENDING, Phase.SEPARATION, "other")
    assert job.plan == jobs.plan()
    assert job.units.keys() == {UNIT_SOURCE, UNIT_PREPARE}
    assert job.outbox == ()
    assert job.timeline[-1].note == "model htdemucs; follows other"


def replanned() -> Job:
    """A job that waits for its second plan: its model has changed under it."""
    changed = jobs.failed(Stage.SEPARATE, "1", problem=MODEL_CHANGED)
    return live(jobs.separating(1), changed)


def test_what_it_had_computed_by_another_plan_is_swept_and_it_computes_above_that() -> None:
    waits = replanned()
    attempt = waits.units[UNIT_PREPARE].attempt
    job = live(elsewhere(waits), jobs.prepared(attempt), others=Others(leader=LEADER))
    assert job.outbox == (SweepWork(job_id=JOB, attempt=attempt),)
    again = live(job, ENDED, TURN, others=Others())
    assert {word.attempt for word in again.outbox if isinstance(word, SeparateWork)} == {
        attempt + 1
    }


def refetching(done: int = 2) -> Job:
    """A job with finished chunks whose track is fetched anew."""
    return live(jobs.separating(done), jobs.failed(Stage.SEPARATE, str(done), problem=GONE))


def test_finished_chunks_are_kept_for_the_case_that_its_leader_does_not_complete() -> None:
    job = live(elsewhere(refetching()), jobs.downloaded(2), others=Others(leader=LEADER))
    assert (job.follows, job.chunks_done, job.outbox) == ("other", 2, ())
    again = live(job, ENDED, TURN, others=Others())
    assert [word.unit for word in again.outbox if isinstance(word, SeparateWork)] == ["2"]
    # If it does, they are not needed.
    first = live(job, ENDED, others=Others(leader=MADE))
    assert first.outbox == (SweepWork(job_id=JOB, attempt=first.attempt_floor),)
    assert live(first, ENDED, others=Others(leader=MADE)).status is Status.COMPLETED


def test_an_heir_that_has_done_more_itself_goes_on_with_that() -> None:
    job = live(elsewhere(refetching()), jobs.downloaded(2), others=Others(leader=LEADER))
    left = bequeathing(jobs.separating(1))
    heir = live(job, ENDED, others=Others(leader=left))
    assert (heir.run, heir.chunks_done) == ("", 2)
    (sweep,) = heir.outbox
    assert isinstance(sweep, SweepWork)
    assert (sweep.unit, sweep.run) == (UNIT_SWEEP_LEFT, "other")
    (order,) = live(heir, TURN).outbox
    assert isinstance(order, SeparateWork)
    assert order.unit == "2"
    more = bequeathing(jobs.finalizing())
    assert live(job, ENDED, others=Others(leader=more)).run == "other"


@pytest.mark.parametrize("how", ["made", "left"])
def test_what_is_said_of_the_song_at_its_own_address_stays(how: str) -> None:
    before = met()
    assert before.metadata is not None
    page = replace(before.metadata, page="https://mirror.example/b", extractor="mirror")
    before = replace(before, metadata=page, fetched_at=NOW)
    leader = MADE if how == "made" else bequeathing(jobs.separating(1))
    job = live(before, ENDED, others=Others(leader=leader), now=LATER)
    assert (job.metadata, job.fetched_at, job.track) == (page, NOW, before.track)


def test_who_leads_to_another_song_by_now_is_followed_no_more() -> None:
    job = met()
    gone = live(LEADER, jobs.failed(Stage.SEPARATE, "1", problem=GONE, job_id="other"))
    assert isinstance(advance(job, ENDED, at(others=Others(leader=gone))), Stale)
    found = replace(jobs.downloaded(2, job_id="other"), track=replace(jobs.track(), id="t2"))
    another = live(gone, found)
    again = live(job, ENDED, others=Others(leader=another))
    assert (again.status, again.follows, again.plan) == (Status.PENDING, None, job.plan)


def test_who_follows_one_that_follows_another_follows_that() -> None:
    leader = replace(met(), id="other", follows="first")
    job = live(follower(elsewhere(jobs.pending())), ENDED, others=Others(leader=leader))
    assert (job.status, job.follows) == (Status.PENDING, "first")
    assert (job.track, job.plan, job.phase) == (leader.track, leader.plan, leader.phase)
    assert job.timeline[-1].note == "follows first, as other does"
    done = live(job, ENDED, others=Others(leader=replace(MADE, id="first")))
    assert (done.status, done.result) == (Status.COMPLETED, MADE.result)
    # It can go on by itself just as well.
    assert [type(word) for word in live(job, ENDED, TURN, others=Others()).outbox] == [
        SeparateWork
    ] * 2


def test_a_download_that_completed_a_job_is_known_when_it_comes_again() -> None:
    job = live(elsewhere(refetching()), jobs.downloaded(2), others=Others(made=MADE))
    assert job.status is Status.COMPLETED
    (sweep,) = job.outbox
    assert isinstance(sweep, SweepWork)
    assert advance(job, jobs.downloaded(2), at()) == Repeated(job)


def test_it_ends_with_what_its_leader_has_made() -> None:
    job = live(met(), ENDED, others=Others(leader=MADE), now=LATER)
    assert (job.status, job.result, job.outbox) == (Status.COMPLETED, MADE.result, ())


def test_it_goes_on_with_what_its_leader_has_left() -> None:
    left = bequeathing(jobs.separating(2))
    job = live(met(), ENDED, others=Others(leader=left))
    assert (job.run, job.chunks_done, job.plan) == ("other", 2, left.plan)
    (order,) = live(job, TURN).outbox
    assert isinstance(order, SeparateWork)
    assert (order.chunk, order.run, order.attempt) == (2, "other", left.attempt_floor + 2)


@pytest.mark.parametrize(
    "leader",
    [
        another_song(MADE),
        another_song(bequeathing(jobs.finalizing())),
        another_song(replace(bequeathing(jobs.separating(2)), status=Status.SCHEDULED)),
        bequeathing(jobs.separating(2), heir="third"),
        None,
    ],
    ids=["made", "left", "left, and begun anew", "left to a third", "deleted"],
)
def test_what_came_of_another_song_is_not_taken(leader: Job | None) -> None:
    before = met()
    job = live(before, ENDED, others=Others(leader=leader))
    assert (job.status, job.follows) == (Status.PENDING, None)
    assert (job.track, job.plan, job.result) == (before.track, before.plan, None)
    words = live(job, TURN).outbox
    assert [(type(word), getattr(word, "chunk", None)) for word in words] == [
        (SeparateWork, 0),
        (SeparateWork, 1),
    ]


async def arrives(realm: Realm, job_id: str, *, reuse: bool = True, model: str = "auto") -> None:
    """The same song by an address of its own, planned."""
    options = Options(reuse=reuse, model=model)
    await realm.scheduler.receive(jobs.submit(job_id, options=options))
    for message in (
        Dispatched(job_id),
        jobs.downloaded(job_id=job_id),
        jobs.prepared(job_id=job_id),
    ):
        await realm.scheduler.receive(message)


async def test_one_song_by_three_addresses_is_computed_once(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "a")
    await arrives(realm, "b", model="htdemucs")
    await arrives(realm, "fresh", reuse=False)
    assert statuses(realm) == {
        "leader": (Status.PROCESSING, None),
        "a": (Status.PENDING, "leader"),
        "b": (Status.PENDING, "leader"),
        "fresh": (Status.PROCESSING, None),
    }
    assert realm.scheduler.queue().order == ()
    await finish(realm, realm.stored("leader").outbox)
    assert set(await obey(realm)) >= {LeaderEnded("a"), LeaderEnded("b")}
    made = realm.stored("leader").result
    assert [(realm.stored(one).status, realm.stored(one).result) for one in "ab"] == [
        (Status.COMPLETED, made)
    ] * 2


@pytest.mark.parametrize("same", [True, False], ids=["the same", "another song"])
async def test_one_whose_track_is_fetched_anew_looks_again(
    new_realm: NewRealm, *, same: bool
) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    await realm.scheduler.receive(jobs.failed(Stage.SEPARATE, "1", problem=GONE, job_id="leader"))
    # Meanwhile nobody is at work on it.
    await arrives(realm, "a")
    assert statuses(realm)["a"] == (Status.PROCESSING, None)
    again = jobs.downloaded(2, job_id="leader")
    other = replace(again.track, id="t2")
    await realm.scheduler.receive(again if same else replace(again, track=other))
    assert statuses(realm)["leader"] == (
        (Status.PENDING, "a") if same else (Status.PROCESSING, None)
    )
    assert realm.stored("leader").chunks_done == same
    await obey(realm)
    await finish(realm, realm.stored("a").outbox)
    for _ in range(3):
        await obey(realm)
    assert (realm.stored("leader").status is Status.COMPLETED) is same


async def test_what_the_leader_leaves_goes_to_whom_it_is_of_use(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "a")
    await arrives(realm, "b")
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    # The first of them has come to another song meanwhile: as if its own had been made anew.
    first = realm.store.job("a")
    assert first is not None
    realm.store.put(another_song(first))
    await realm.scheduler.catch_up()
    words = await realm.scheduler.receive(CancelJob(job_id="leader"))
    assert list(words) == [StopOrder(job_id="leader")]
    await obey(realm)
    heir = realm.stored("b")
    assert (heir.run, heir.chunks_done, heir.follows) == ("leader", 1, None)
    assert (realm.stored("a").run, realm.stored("a").follows) == ("", None)


async def test_followers_of_one_that_follows_another_cost_a_write_each(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await realm.scheduler.receive(jobs.submit("first", url=MIRROR))
    await realm.scheduler.receive(Dispatched("first"))
    twins = [f"twin-{number}" for number in range(20)]
    for job_id in twins:
        await realm.scheduler.receive(jobs.submit(job_id, url=MIRROR))
        await realm.scheduler.receive(Dispatched(job_id))
    await realm.scheduler.receive(jobs.downloaded(job_id="first"))
    await realm.scheduler.receive(jobs.prepared(job_id="first"))
    assert set(await obey(realm)) == {LeaderEnded(job_id) for job_id in twins}
    assert {realm.stored(job_id).follows for job_id in ("first", *twins)} == {"leader"}
    assert await obey(realm) == []
    await finish(realm, realm.stored("leader").outbox)
    await obey(realm)
    assert {realm.stored(job_id).status for job_id in twins} == {Status.COMPLETED}


async def test_who_follows_another_song_is_told_so(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "a")
    await realm.scheduler.receive(jobs.failed(Stage.SEPARATE, "0", problem=GONE, job_id="leader"))
    assert LeaderEnded("a") not in await obey(realm)
    found = jobs.downloaded(2, job_id="leader")
    other = replace(found, track=replace(found.track, id="t2"))
    await realm.scheduler.receive(other)
    assert LeaderEnded("a") in await obey(realm)
    assert realm.stored("a").follows is None


@pytest.mark.parametrize(("digest", "taken"), [("d1", True), ("d2", False)])
async def test_an_old_plan_s_result_is_taken_while_its_model_is_the_same(
    new_realm: NewRealm, digest: str, *, taken: bool
) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "a")
    await realm.scheduler.receive(HoldJob(job_id="a"))
    await finish(realm, realm.stored("leader").outbox)
    await obey(realm)
    offer = ModelOffer(name="htdemucs", sources=jobs.plan().sources, ready=True, digest=digest)
    sign = Beat(worker="w", stage=Stage.SEPARATE, slots=2, busy=0, models=(offer,))
    realm.fleet.heard(sign, realm.clock.steady())
    await realm.scheduler.receive(ReleaseJob(job_id="a"))
    await realm.scheduler.receive(Dispatched("a"))
    assert (realm.stored("a").status is Status.COMPLETED) is taken


async def test_a_track_that_another_has_fetched_by_now_is_taken_with_the_finished_chunks(
    new_realm: NewRealm,
) -> None:
    broken = live(refetching(), jobs.failed(Stage.DOWNLOAD, UNIT_SOURCE, 2, problem=TERMINAL))
    assert broken.status is Status.FAILED
    later = replace(jobs.cancelled(), id="other", options=Options(model="dsp"))
    realm = new_realm(broken, later, slots=SLOTS)
    await realm.scheduler.take_over()
    await realm.scheduler.receive(RetryJob(job_id=JOB))
    await realm.scheduler.receive(Dispatched(JOB))
    job = realm.stored()
    assert (job.status, job.track, job.chunks_done) == (Status.PROCESSING, jobs.track(), 2)
    assert await obey(realm) == [Granted(JOB)]
    orders = [word for word in realm.stored().outbox if isinstance(word, SeparateWork)]
    assert [order.unit for order in orders] == ["2"]


async def test_one_that_waits_for_its_own_turn_is_not_waited_for(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    await realm.scheduler.receive(
        jobs.failed(Stage.SEPARATE, "1", problem=TERMINAL, job_id="leader")
    )
    await realm.scheduler.receive(RetryJob(job_id="leader"))
    assert realm.stored("leader").chunks_done == 1
    await arrives(realm, "a")
    assert statuses(realm)["a"] == (Status.PROCESSING, None)


async def test_an_heir_that_waits_for_its_turn_is_followed(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "heir")
    await realm.scheduler.receive(jobs.submit("late"))
    await realm.scheduler.receive(Dispatched("late"))
    await realm.scheduler.receive(jobs.downloaded(job_id="late"))
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    await realm.scheduler.receive(LeaderEnded("heir"))
    await realm.scheduler.receive(jobs.prepared(job_id="late"))
    assert statuses(realm)["late"] == (Status.PENDING, "heir")
    assert await obey(realm) == [Dispatched("heir")]
    assert await obey(realm) == [Granted("heir")]
    await finish(realm, realm.stored("heir").outbox)
    await obey(realm)
    await obey(realm)
    assert [realm.stored(one).status for one in ("heir", "late")] == [Status.COMPLETED] * 2


@pytest.mark.parametrize("made", [True, False], ids=["made meanwhile", "at work"])
async def test_one_that_was_planned_before_looks_again_when_its_turn_comes(
    new_realm: NewRealm, *, made: bool
) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await arrives(realm, "a")
    await realm.scheduler.receive(HoldJob(job_id="a"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    await obey(realm)
    assert statuses(realm)["a"] == (Status.PENDING, None)
    await arrives(realm, "b")
    if made:
        await finish(realm, realm.stored("b").outbox)
    await realm.scheduler.receive(ReleaseJob(job_id="a"))
    await realm.scheduler.receive(Dispatched("a"))
    ended = (Status.COMPLETED, None)
    assert statuses(realm)["a"] == (ended if made else (Status.PENDING, "b"))


@pytest.mark.parametrize(
    ("job", "same"),
    [
        (jobs.preparing(), True),
        (elsewhere(jobs.separating()), True),
        (elsewhere(jobs.preparing()), False),
        (another_song(elsewhere(jobs.separating())), False),
    ],
    ids=["by its wish", "by its plan", "not planned", "another song"],
)
def test_same_stems_are_asked_for_or_planned(job: Job, *, same: bool) -> None:
    assert same_stems(aim_of(job), aim_of(LEADER)) is same
