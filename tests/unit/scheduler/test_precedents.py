"""A scheduler that does nothing twice: what it finds of other jobs, and what it makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from services.scheduler.config import SchedulerConfig
from services.scheduler.decision import Dispatched
from services.scheduler.precedents import TRIED
from shared.contracts.audio import AudioFormat
from shared.contracts.commands import (
    DeleteJob,
    SubmitJob,
)
from shared.contracts.job import Job, Status
from shared.contracts.live import Beat, ModelOffer
from shared.contracts.request import Options, Source
from shared.contracts.work import (
    DownloadWork,
    PrepareWork,
    RemoveWork,
    Stage,
)
from shared.errors import Code
from shared.jetstream.store import ConflictError
from shared.separation.identity import result_id
from shared.settings import SettingError
from tests.support import jobs
from tests.support.jobs import JOB, NOW, live
from tests.support.memory import MemoryStore
from tests.support.twins import (
    MADE,
    SLOTS,
    URL,
    at_work,
    obey,
    twin,
)

if TYPE_CHECKING:
    from shared.jetstream.store import Stored
    from tests.support.realm import Realm
    from tests.unit.scheduler.conftest import NewRealm

WEEK = 7 * 24 * 3600.0


async def removed(realm: Realm, job_id: str) -> tuple[str | None, str | None]:
    """Delete a job: which track and result go with it."""
    (word,) = await realm.scheduler.receive(DeleteJob(job_id=job_id))
    assert isinstance(word, RemoveWork)
    return word.track, word.result


async def owner_of(new_realm: NewRealm, *records: Job, **more: object) -> Realm:
    """One that has read these records."""
    realm = new_realm(*records, slots=SLOTS, **more)
    await realm.scheduler.take_over()
    return realm


async def test_the_same_wish_again_is_answered_at_once(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm, MADE)
    assert list(await realm.scheduler.receive(twin("again"))) == []
    job = realm.stored("again")
    assert (job.status, job.result, job.track) == (Status.COMPLETED, MADE.result, MADE.track)
    assert realm.scheduler.decisions() == []
    # And what was answered so can be the answer to the next one; the files go with the last.
    assert await removed(realm, "other") == (None, None)
    await realm.scheduler.receive(twin("third"))
    assert realm.stored("third").timeline[-1].note == "submitted; the result is again's"
    assert await removed(realm, "again") == (None, None)
    assert await removed(realm, "third") == ("t1", jobs.result().id)


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (MADE, twin("j", reuse=False)),
        (MADE, jobs.submit("j", url=URL + "?")),
        (MADE, jobs.submit("j", url=URL, options=Options(format=AudioFormat.MP3))),
        (MADE, twin("j", later=True)),
        (replace(jobs.cancelled(), id="other"), twin("j")),
        (replace(jobs.broken(), id="other"), twin("j")),
    ],
    ids=["fresh", "another song", "other options", "later", "cancelled", "failed"],
)
async def test_anything_else_is_not(new_realm: NewRealm, made: Job, command: SubmitJob) -> None:
    realm = await owner_of(new_realm, made)
    await realm.scheduler.receive(command)
    assert realm.stored("j").status in {Status.PENDING, Status.SCHEDULED}


async def test_what_waited_for_its_time_takes_what_is_there_then(new_realm: NewRealm) -> None:
    realm = await owner_of(new_realm)
    await realm.scheduler.receive(twin("j", later=True))
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
    offer = ModelOffer(name="htdemucs", sources=("vocals",), ready=True, digest="d1")
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
    assert await removed(realm, "other") == (None, None)


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


async def test_a_result_that_is_about_to_be_removed_is_not_given_away(
    new_realm: NewRealm,
) -> None:
    """One who was the owner has read that nobody else has it, and writes only now."""
    realm = await owner_of(new_realm, MADE)
    late = await realm.store.load("other")
    assert late is not None
    await realm.scheduler.receive(twin("j"))
    assert realm.stored("j").status is Status.COMPLETED
    with pytest.raises(ConflictError):
        await realm.store.remove("other", late.revision)
    # And the other way round: it is removed while the next one is being decided on.
    steps = []

    async def load(job_id: str) -> Stored | None:
        found = await MemoryStore.load(realm.store, job_id)
        if job_id in {"other", "j"} and found and found.job:
            steps.append(job_id)
            await realm.store.remove(job_id, found.revision)
        return found

    realm.store.load = load  # type: ignore[method-assign] # somebody else is quick
    await realm.scheduler.receive(twin("k"))
    assert len(steps) == 2
    assert realm.stored("k").status is Status.PENDING
