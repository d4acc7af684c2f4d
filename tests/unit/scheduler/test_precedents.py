"""A scheduler that does nothing twice: what it finds of other jobs, and what it makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.config import SchedulerConfig
from services.scheduler.decision import Answered, Dispatched, Granted, LeaderEnded
from services.scheduler.dispatcher import QueueLimits
from services.scheduler.precedents import TRIED
from shared.contracts.audio import AudioFormat
from shared.contracts.commands import (
    CancelJob,
    DeleteJob,
    HoldJob,
    ReleaseJob,
    RetryJob,
    SubmitJob,
)
from shared.contracts.job import Job, Legacy, Status
from shared.contracts.live import Beat, ModelOffer
from shared.contracts.request import Options, Source
from shared.contracts.work import (
    DownloadWork,
    PrepareWork,
    RemoveWork,
    SeparateWork,
    Stage,
    StopOrder,
    SweepWork,
    Word,
)
from shared.errors import Code
from shared.jetstream.store import ConflictError
from shared.separation.identity import result_id
from shared.settings import SettingError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW, fact_of, live
from tests.support.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scheduler.actor import Own
    from shared.contracts.commands import Reply
    from shared.jetstream.store import Stored
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

URL = "https://example.org/a.mp3"
SLOTS = {Stage.DOWNLOAD: 9, Stage.SEPARATE: 2, Stage.FINALIZE: 1}
WEEK = 7 * 24 * 3600.0
MADE = replace(jobs.completed(), id="made")


def twin(job_id: str, *, reuse: bool = True, run_at: bool = False) -> SubmitJob:
    """A submission of the song that ``MADE`` is of."""
    later = LATER if run_at else None
    return jobs.submit(job_id, url=URL, options=Options(reuse=reuse), run_at=later)


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


async def finish(realm: Realm, words: Sequence[Word | Reply]) -> None:
    """Do the work, and what follows from it."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if isinstance(word, DownloadWork | PrepareWork | SeparateWork) or hasattr(word, "attempts"):
            waiting += await realm.scheduler.receive(fact_of(word))  # type: ignore[arg-type] # work


def statuses(realm: Realm) -> dict[str, tuple[Status, str | None]]:
    return {job.id: (job.status, job.follows) for job in realm.store.jobs()}


async def owner_of(new_realm: NewRealm, *records: Job, **more: object) -> Realm:
    realm = new_realm(*records, slots=SLOTS, **more)
    await realm.scheduler.take_over()
    return realm


async def test_the_same_wish_again_is_answered_at_once(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm, MADE)
    assert list(await realm.scheduler.receive(twin("again"))) == []
    job = realm.stored("again")
    assert (job.status, job.result, job.track) == (Status.COMPLETED, MADE.result, MADE.track)
    assert realm.scheduler.decisions() == []
    # And what was answered so can be the answer to the next one.
    await realm.scheduler.receive(DeleteJob(job_id="made"))
    await realm.scheduler.receive(twin("third"))
    assert realm.stored("third").timeline[-1].note == "submitted; the result is again's"


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (MADE, twin("j", reuse=False)),
        (MADE, jobs.submit("j", url=URL + "?")),
        (MADE, jobs.submit("j", url=URL, options=Options(format=AudioFormat.MP3))),
        (MADE, twin("j", run_at=True)),
        (replace(jobs.cancelled(), id="made"), twin("j")),
        (replace(jobs.broken(), id="made"), twin("j")),
    ],
    ids=["fresh", "another song", "other options", "later", "cancelled", "failed"],
)
async def test_anything_else_is_not(new_realm: NewRealm, made: Job, command: SubmitJob) -> None:
    realm = await owner_of(new_realm, made)
    await realm.scheduler.receive(command)
    assert realm.stored("j").status in {Status.PENDING, Status.SCHEDULED}


async def test_what_waited_for_its_time_takes_what_is_there_then(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm)
    await realm.scheduler.receive(twin("j", run_at=True))
    realm.store.put(MADE)
    await realm.scheduler.catch_up()
    realm.forward(3600.0)
    await obey(realm)
    assert await obey(realm) == [Dispatched("j")]
    assert realm.stored("j").status is Status.COMPLETED


@pytest.mark.parametrize(
    ("age", "reuse_seconds", "taken"),
    [(WEEK - 1, WEEK, True), (WEEK + 1, WEEK, False), (0.0, 0.0, False), (99 * WEEK, 1e9, True)],
)
async def test_what_an_address_led_to_is_the_same_song_for_a_while(
    new_realm: NewRealm, age: float, reuse_seconds: float, *, taken: bool
) -> None:
    old = replace(MADE, fetched_at=NOW - timedelta(seconds=age))
    realm = await owner_of(new_realm, old, reuse_seconds=reuse_seconds)
    await realm.scheduler.receive(twin("j"))
    await realm.scheduler.receive(jobs.submit("k", url=URL, options=Options(model="dsp")))
    assert (realm.stored("j").status is Status.COMPLETED) is taken
    assert (realm.stored("k").track is not None) is taken
    # A copy is as old as what it was copied from.
    assert realm.stored("j").fetched_at == (old.fetched_at if taken else None)


async def test_bytes_are_the_same_for_ever(new_realm: NewRealm) -> None:
    source = Source(upload="u1", digest="d1", name="a.mp3")
    old = replace(MADE, source=source, fetched_at=NOW - timedelta(days=999))
    realm = await owner_of(new_realm, old, reuse_seconds=0.0)
    for job_id, other in (("j", replace(source, upload="u2")), ("k", replace(source, digest="d2"))):
        await realm.scheduler.receive(replace(twin(job_id), source=other))
    assert realm.stored("j").status is Status.COMPLETED
    assert realm.stored("k").status is Status.PENDING


def test_a_time_for_reuse_below_0_is_refused_at_start() -> None:
    with pytest.raises(SettingError, match="STEMBUS_REUSE_SECONDS"):
        SchedulerConfig(reuse_seconds=-1.0)


async def test_a_result_of_a_model_that_is_not_taken_any_more_is_not_taken(
    new_realm: NewRealm,
) -> None:
    realm = await owner_of(new_realm, MADE)
    offer = ModelOffer(name="htdemucs", sources=("vocals",), ready=True, digest="another")
    beat = Beat(worker="s", stage=Stage.SEPARATE, slots=2, busy=0, models=(offer,))
    realm.fleet.heard(beat, realm.clock.steady())
    await realm.scheduler.receive(twin("j"))
    assert realm.stored("j").status is Status.PENDING
    assert realm.stored("j").track == MADE.track  # the song is the same
    realm.forward(60.0)  # nobody says so any more
    await realm.scheduler.receive(twin("k"))
    assert realm.stored("k").status is Status.COMPLETED


async def test_only_so_many_records_are_read_to_find_one_that_can_be_taken(
    new_realm: NewRealm,
) -> None:
    plan = replace(jobs.plan(), model="dsp")
    wrong = [
        replace(MADE, id=f"w{n}", plan=plan, finished_at=NOW + timedelta(n)) for n in range(TRIED)
    ]
    realm = await owner_of(new_realm, MADE, *wrong)
    offer = ModelOffer(name="htdemucs", sources=("vocals",), ready=True)
    realm.fleet.heard(
        Beat(worker="s", stage=Stage.SEPARATE, slots=2, busy=0, models=(offer,)),
        realm.clock.steady(),
    )
    await realm.scheduler.receive(twin("j"))
    assert realm.stored("j").status is Status.PENDING
    await realm.scheduler.receive(DeleteJob(job_id="w0"))
    await realm.scheduler.receive(twin("k"))
    assert realm.stored("k").status is Status.COMPLETED


async def test_the_same_source_with_other_options_skips_the_download(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm, MADE)
    dsp = Options(model="dsp")
    await realm.scheduler.receive(jobs.submit("j", url=URL, options=dsp))
    await realm.scheduler.receive(
        jobs.submit("k", url=URL, options=Options(model="dsp", reuse=False))
    )
    words = [await realm.scheduler.receive(Dispatched(one)) for one in "jk"]
    assert [type(one) for said in words for one in said] == [PrepareWork, DownloadWork]


async def test_a_job_with_a_borrowed_track_needs_no_download_slot(new_realm: NewRealm) -> None:
    realm = new_realm(slots={**SLOTS, Stage.DOWNLOAD: 1})
    await at_work(realm)
    await realm.scheduler.receive(jobs.submit("other"))
    await obey(realm)
    await realm.scheduler.receive(jobs.submit("j", url=URL, options=Options(model="dsp")))
    assert Dispatched("j") in realm.scheduler.decisions()


async def test_a_track_is_kept_while_a_job_that_borrowed_it_waits(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm, MADE)
    await realm.scheduler.receive(jobs.submit("j", url=URL, options=Options(model="dsp")))
    (word,) = await realm.scheduler.receive(DeleteJob(job_id="made"))
    assert isinstance(word, RemoveWork)
    assert (word.track, word.result) == (None, None)


async def test_equal_jobs_share_one_run_and_end_together(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    for job_id in "abc":
        await realm.scheduler.receive(twin(job_id))
    await realm.scheduler.receive(HoldJob(job_id="c"))
    assert {Dispatched("a"), Dispatched("b")} <= set(await obey(realm))
    pending = Status.PENDING
    assert statuses(realm) == {
        "leader": (Status.PROCESSING, None),
        "a": (pending, "leader"),
        "b": (pending, "leader"),
        "c": (pending, None),
    }
    # They have no place in the queue, and take none of anybody's.
    assert realm.scheduler.decisions() == []
    assert (realm.scheduler.queue().order, realm.scheduler.queue().waiting) == ((), 0)
    await realm.scheduler.receive(twin("d"))
    await finish(realm, realm.stored("leader").outbox)
    assert realm.stored("leader").status is Status.COMPLETED
    # One that had not had its turn yet needs none.
    assert set(await obey(realm)) == {LeaderEnded("a"), LeaderEnded("b"), Answered("d")}
    assert {one: realm.stored(one).status for one in "abcd"} == {
        **dict.fromkeys("abd", Status.COMPLETED),
        "c": pending,
    }
    assert len({realm.stored(one).result for one in ("leader", *"abd")}) == 1
    await realm.scheduler.receive(ReleaseJob(job_id="c"))
    await obey(realm)
    assert realm.stored("c").status is Status.COMPLETED


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_cancelled_twin_does_not_cancel_the_other(new_realm: NewRealm, how: str) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    for job_id in ("a", "b"):
        await realm.scheduler.receive(twin(job_id))
        await realm.scheduler.receive(Dispatched(job_id))
    await realm.scheduler.receive(jobs.separated(0, job_id="leader"))
    words = await realm.scheduler.receive(
        CancelJob(job_id="leader")
        if how == "cancelled"
        else jobs.failed(Stage.SEPARATE, "1", job_id="leader", problem=jobs.TERMINAL)
    )
    assert list(words) == [StopOrder(job_id="leader")]  # and no sweep
    assert realm.stored("leader").legacy == Legacy(heir="a", run="leader")
    await obey(realm)
    assert statuses(realm)["b"] == (Status.PENDING, "a")
    # The heir is started, and what is finished is not computed again.
    assert await obey(realm) == [Dispatched("a")]
    assert await obey(realm) == [Granted("a")]
    orders = [word for word in realm.stored("a").outbox if isinstance(word, SeparateWork)]
    assert [(one.chunk, one.run) for one in orders] == [(1, "leader"), (2, "leader")]
    await finish(realm, orders)
    done = realm.stored("a")
    assert done.status is Status.COMPLETED
    (sweep,) = done.outbox
    assert isinstance(sweep, SweepWork)
    assert (sweep.run, sweep.attempt >= 2) == ("leader", True)
    await obey(realm)
    assert realm.stored("b").status is Status.COMPLETED


async def test_a_result_that_is_about_to_be_removed_is_not_given_away(
    new_realm: NewRealm,
) -> None:
    """One who was the owner has read that nobody else has it, and writes only now."""
    realm = await owner_of(new_realm, MADE)
    late = await realm.store.load("made")
    assert late is not None
    await realm.scheduler.receive(twin("j"))
    assert realm.stored("j").status is Status.COMPLETED
    with pytest.raises(ConflictError):
        await realm.store.remove("made", late.revision)
    # And the other way round: it is removed while the next one is being decided on.
    steps = []

    async def load(job_id: str) -> Stored | None:
        found = await MemoryStore.load(realm.store, job_id)
        if job_id in {"made", "j"} and found and found.job:
            steps.append(job_id)
            await realm.store.remove(job_id, found.revision)
        return found

    realm.store.load = load  # type: ignore[method-assign] # somebody else is quick
    await realm.scheduler.receive(twin("k"))
    assert len(steps) == 2
    assert realm.stored("k").status is Status.PENDING


async def test_a_follower_that_ends_harms_nobody(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    for job_id in "ab":
        await realm.scheduler.receive(twin(job_id))
        await realm.scheduler.receive(Dispatched(job_id))
    assert list(await realm.scheduler.receive(CancelJob(job_id="a"))) == []
    await realm.scheduler.receive(DeleteJob(job_id="a"))
    await realm.scheduler.receive(HoldJob(job_id="b"))
    words = await realm.scheduler.receive(CancelJob(job_id="leader"))
    # Whoever is held goes on with nothing: the run ends as any other.
    assert [type(word) for word in words] == [StopOrder, SweepWork]
    await obey(realm)
    assert statuses(realm)["b"] == (Status.PENDING, None)


async def test_a_leader_that_is_retried_follows_its_heir(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await realm.scheduler.receive(twin("a"))
    await realm.scheduler.receive(Dispatched("a"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    await obey(realm)
    await obey(realm)
    assert realm.stored("a").status is Status.PROCESSING
    await realm.scheduler.receive(RetryJob(job_id="leader"))
    await realm.scheduler.receive(Dispatched("leader"))
    assert statuses(realm)["leader"] == (Status.PENDING, "a")
    await obey(realm)
    await finish(realm, realm.stored("a").outbox)
    await obey(realm)
    assert realm.stored("leader").status is Status.COMPLETED


async def test_a_leader_that_is_deleted_before_its_heir_comes_leaves_nothing_behind(
    new_realm: NewRealm,
) -> None:
    realm = new_realm(slots=SLOTS)
    await at_work(realm)
    await realm.scheduler.receive(twin("a"))
    await realm.scheduler.receive(Dispatched("a"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    (word,) = await realm.scheduler.receive(DeleteJob(job_id="leader"))
    assert isinstance(word, RemoveWork)
    assert word.run == "leader"
    await obey(realm)
    assert statuses(realm)["a"] == (Status.PENDING, None)


async def test_the_next_owner_repairs_what_the_last_one_left_undone(new_realm: NewRealm) -> None:
    """It dies between the end of a leader and what follows from it for others."""
    dying = new_realm(slots=SLOTS)
    await at_work(dying)
    for job_id in "ab":
        await dying.scheduler.receive(twin(job_id))
        await dying.scheduler.receive(Dispatched(job_id))
    await dying.scheduler.receive(twin("c"))
    await finish(dying, dying.stored("leader").outbox)
    realm = await owner_of(new_realm, store=dying.store)
    assert set(await obey(realm)) == {LeaderEnded("a"), LeaderEnded("b")}
    assert await obey(realm) == [Answered("c")]
    assert {job.status for job in realm.store.jobs()} == {Status.COMPLETED}


async def test_nobody_is_started_while_a_run_is_being_taken_over(new_realm: NewRealm) -> None:
    realm = new_realm(slots=SLOTS, queue=QueueLimits(max_processing=1))
    await at_work(realm)
    await realm.scheduler.receive(twin("a"))
    await realm.scheduler.receive(Dispatched("a"))
    await realm.scheduler.receive(jobs.submit("stranger"))
    await realm.scheduler.receive(CancelJob(job_id="leader"))
    assert realm.scheduler.decisions() == [LeaderEnded("a")]
    await obey(realm)
    assert realm.scheduler.decisions() == [Dispatched("a")]


async def test_another_road_to_the_same_result_is_not_gone_to_its_end(new_realm: NewRealm) -> None:
    """``auto`` has come to what was asked for by name."""
    ready = live(None, jobs.submit(), Dispatched(JOB), jobs.downloaded())
    assert ready.track is not None
    assert ready.metadata is not None
    assert MADE.result is not None
    result = result_id(ready.track, jobs.plan(), AudioFormat.FLAC, ready.metadata)
    made = replace(MADE, result=replace(MADE.result, id=result), options=Options(model="htdemucs"))
    for reuse, status in ((True, Status.COMPLETED), (False, Status.PROCESSING)):
        preparing = replace(ready, options=Options(reuse=reuse))
        realm = await owner_of(new_realm, made, preparing)
        await realm.scheduler.receive(jobs.prepared())
        assert realm.stored().status is status
    assert realm.stored().result is None


async def test_a_track_that_was_lost_is_downloaded_and_not_borrowed_again(
    new_realm: NewRealm,
) -> None:
    realm = await owner_of(new_realm, MADE)
    await realm.scheduler.receive(jobs.submit("j", url=URL, options=Options(model="dsp")))
    await realm.scheduler.receive(Dispatched("j"))
    gone = replace(jobs.TERMINAL, code=Code.BLOB_MISSING)
    lost = jobs.failed(Stage.SEPARATE, "prepare", job_id="j", problem=gone)
    (order,) = await realm.scheduler.receive(lost)
    assert isinstance(order, DownloadWork)
