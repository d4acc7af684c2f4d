"""The jobs' bucket: each write a compare-and-set, each read by revision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from shared.contracts.codec import UndecodableError, encode
from shared.contracts.work import DownloadWork, ExpandWork
from shared.jetstream import store as store_module
from shared.jetstream.store import (
    BATCHES,
    MARKER_SECONDS,
    REQUEST,
    ConflictError,
    JobStore,
    Stored,
    StoredBatch,
)
from shared.jetstream.topology import JOBS, JOBS_SUBJECT
from tests.support.batches import BATCH, called_off, expanding, submitted
from tests.support.jobs import JOB, completed, downloading, pending

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger

    from shared.contracts.batch import Batch
    from shared.contracts.job import Job


@pytest.fixture
def store(nc: Client) -> JobStore:
    return JobStore(nc)


async def records(store: JobStore, after: int = 0) -> list[Stored | StoredBatch]:
    return [stored async for stored in store.scan(after)]


async def delete(js: JetStreamContext, job_id: str) -> int:
    """What an operator's ``nats kv del`` does; the revision of the marker."""
    ack = await js.publish(JOBS_SUBJECT + job_id, b"", headers={"KV-Operation": "DEL"})
    return int(ack.seq)


async def test_what_never_was_is_not_there(store: JobStore) -> None:
    assert (await store.load(JOB), await store.load_batch(BATCH)) == (None, None)


@pytest.mark.parametrize("job", [pending(), downloading(), completed()], ids=lambda job: job.status)
async def test_a_record_comes_back_as_it_was_written(store: JobStore, job: Job) -> None:
    revision = await store.write(job, 0)
    assert Stored(JOB, revision, job) == await store.load(JOB)


async def test_a_record_is_created_only_once(store: JobStore) -> None:
    revision = await store.write(pending(), 0)
    with pytest.raises(ConflictError, match=JOB):
        await store.write(downloading(), 0)
    assert Stored(JOB, revision, pending()) == await store.load(JOB)


async def test_only_the_revision_that_was_read_can_be_replaced(store: JobStore) -> None:
    first = await store.write(pending(), 0)
    second = await store.write(downloading(), first)
    assert second > first
    for stale in (0, first, second + 7):
        with pytest.raises(ConflictError):
            await store.write(completed(), stale)
    assert Stored(JOB, second, downloading()) == await store.load(JOB)


async def test_the_same_write_again_is_recognized(store: JobStore) -> None:
    """Its confirmation may have got lost."""
    first = await store.write(pending(), 0)
    assert first == await store.write(pending(), 0)
    second = await store.write(downloading(), first)
    assert second == await store.write(downloading(), first)


async def test_another_job_s_writes_are_no_conflict(store: JobStore) -> None:
    first = await store.write(pending(), 0)
    await store.write(replace(pending(), id="j2"), 0)
    assert await store.write(downloading(), first) > first


async def test_an_empty_bucket_scans_to_nothing(store: JobStore) -> None:
    assert await records(store) == []


async def test_a_scan_reads_every_record_once_by_revision_over_many_pages(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 4)
    jobs = [replace(pending(), id=f"j{number}") for number in range(10)]
    revisions = [await store.write(job, 0) for job in jobs]
    moved = await store.write(replace(downloading(), id="j3"), revisions[3])
    expected = [
        Stored(job.id, revision, job)
        for job, revision in zip(jobs, revisions, strict=True)
        if job.id != "j3"
    ] + [Stored("j3", moved, replace(downloading(), id="j3"))]
    assert expected == await records(store)


@pytest.mark.parametrize("records_there", [3, 4, 5, 8])
async def test_a_scan_ends_where_a_page_does(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, records_there: int
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 4)
    for number in range(records_there):
        await store.write(replace(pending(), id=f"j{number}"), 0)
    assert records_there == len(await records(store))


async def test_a_scan_after_a_revision_reads_only_what_changed_since(store: JobStore) -> None:
    first = await store.write(pending(), 0)
    second = await store.write(replace(pending(), id="j2"), 0)
    third = await store.write(downloading(), first)
    assert [second, third] == [stored.revision for stored in await records(store, first)]
    assert [third] == [stored.revision for stored in await records(store, second)]
    assert await records(store, third) == []


async def test_a_scan_that_is_left_early_harms_nobody(store: JobStore) -> None:
    for number in range(5):
        await store.write(replace(pending(), id=f"j{number}"), 0)
    scan = store.scan()
    async for stored in scan:
        assert stored == Stored("j0", 1, replace(pending(), id="j0"))
        break
    await scan.aclose()  # type: ignore[attr-defined] # it is a generator
    assert len(await records(store)) == 5


async def test_a_deletion_is_seen_as_one(store: JobStore, js: JetStreamContext) -> None:
    await store.write(pending(), 0)
    marker = await delete(js, JOB)
    assert Stored(JOB, marker, None) == await store.load(JOB)
    assert [Stored(JOB, marker, None)] == await records(store)
    assert await store.write(pending(), marker) > marker


async def test_a_record_of_another_version_hides_no_other(
    nc: Client,
    js: JetStreamContext,
    log: FilteringBoundLogger,
    log_lines: LogCapture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 2)
    store = JobStore(nc, log)
    await js.publish(JOBS_SUBJECT + "newer", b'{"status":"unheard of"}')
    revision = await store.write(pending(), 0)
    await js.publish(JOBS_SUBJECT + BATCHES + "newest", b"{")
    assert [Stored(JOB, revision, pending())] == await records(store)
    assert [line["key"] for line in log_lines.entries] == ["newer", "batch.newest"]


async def test_every_write_is_told_to_whoever_listens(store: JobStore, nc: Client) -> None:
    heard = await nc.subscribe("live.jobs.*")
    revision = await store.write(pending(), 0)
    message = await heard.next_msg(timeout=5)
    assert ("live.jobs.j1", encode(pending()), str(revision)) == (
        message.subject,
        message.data,
        message.headers["Nats-Sequence"],
    )


@pytest.mark.parametrize("hostile", ["", "a.b", "*", ">", "a b", "a/b", "ä", "x" * 65])
async def test_an_id_that_can_be_no_subject_is_refused(store: JobStore, hostile: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        await store.load(hostile)


async def test_only_the_newest_revision_is_kept(store: JobStore, js: JetStreamContext) -> None:
    revision = 0
    for _ in range(5):
        revision = await store.write(replace(pending(), progress=float(revision)), revision)
    assert (await js.stream_info(JOBS)).state.messages == 1


async def test_a_record_that_can_t_be_read_does_not_hide_the_others(
    store: JobStore, js: JetStreamContext
) -> None:
    await js.publish(JOBS_SUBJECT + "newer", b'{"from": "another version"}')
    revision = await store.write(pending(), 0)
    assert [Stored(JOB, revision, pending())] == await records(store)


async def test_who_must_not_overlook_a_record_is_told_of_one_that_can_t_be_read(
    store: JobStore, js: JetStreamContext
) -> None:
    await js.publish(JOBS_SUBJECT + "newer", b'{"from": "another version"}')
    with pytest.raises(UndecodableError):
        [stored async for stored in store.scan(strict=True)]


@pytest.mark.parametrize("batch", [expanding(), submitted(), called_off()], ids=lambda b: b.status)
async def test_a_batch_comes_back_as_it_was_written(store: JobStore, batch: Batch) -> None:
    revision = await store.write_batch(batch, 0)
    assert StoredBatch(BATCH, revision, batch) == await store.load_batch(BATCH)
    with pytest.raises(ConflictError):
        await store.write_batch(replace(batch, next=99), 0)


async def test_a_job_and_a_batch_of_one_id_are_two_records(store: JobStore) -> None:
    job = replace(pending(), id=BATCH)
    first = await store.write(job, 0)
    second = await store.write_batch(submitted(), 0)
    assert await records(store) == [
        Stored(BATCH, first, job),
        StoredBatch(BATCH, second, submitted()),
    ]
    await store.remove(BATCH, first)
    assert StoredBatch(BATCH, second, submitted()) == await store.load_batch(BATCH)


async def test_a_scan_reads_jobs_batches_and_markers_by_revision(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PAGE", 2)
    first = await store.write(pending(), 0)
    batch = await store.write_batch(submitted(), 0)
    other = await store.write(replace(pending(), id="j2"), 0)
    gone = await store.remove(JOB, first, "digest")
    batch_gone = await store.remove_batch(BATCH, batch)
    assert await records(store) == [
        Stored("j2", other, replace(pending(), id="j2")),
        Stored(JOB, gone, None, "digest"),
        StoredBatch(BATCH, batch_gone, None),
    ]


async def test_a_removal_says_which_submission_it_was_for_a_day(
    store: JobStore, js: JetStreamContext
) -> None:
    revision = await store.write(completed(), 0)
    marker = await store.remove(JOB, revision, "digest")
    assert Stored(JOB, marker, None, "digest") == await store.load(JOB)
    message = await js.get_last_msg(JOBS, JOBS_SUBJECT + JOB, direct=True)
    assert message.headers is not None
    assert message.headers[REQUEST] == "digest"
    assert message.headers["Nats-TTL"] in {f"{MARKER_SECONDS}s", "24h0m0s"}


async def test_a_removal_that_says_nothing_is_one_all_the_same(store: JobStore) -> None:
    marker = await store.remove(JOB, await store.write(completed(), 0))
    assert Stored(JOB, marker, None, "") == await store.load(JOB)


async def test_a_marker_goes_away_by_itself_and_leaves_nothing(
    store: JobStore, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MARKER_SECONDS", 1)
    await store.remove(JOB, await store.write(completed(), 0), "digest")
    async with asyncio.timeout(10):
        while (await js.stream_info(JOBS)).state.messages:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.1)
    assert (await store.load(JOB), await records(store)) == (None, [])
    assert await store.write(pending(), 0) == 3


async def test_only_the_revision_that_was_read_can_be_removed_and_that_again(
    store: JobStore,
) -> None:
    first = await store.write(pending(), 0)
    second = await store.write(completed(), first)
    with pytest.raises(ConflictError):
        await store.remove(JOB, first)
    marker = await store.remove(JOB, second, "digest")
    assert marker == await store.remove(JOB, second, "digest")
    assert await store.write(pending(), marker) > marker


async def test_a_removal_is_told_to_whoever_listens(store: JobStore, nc: Client) -> None:
    heard = await nc.subscribe("live.jobs.>")
    job = await store.write(pending(), 0)
    batch = await store.write_batch(submitted(), 0)
    await store.remove(JOB, job, "digest")
    await store.remove_batch(BATCH, batch)
    found = []
    for _ in range(4):
        message = await heard.next_msg(timeout=5)
        headers = message.headers or {}
        key = message.subject.removeprefix("live.jobs.")
        found.append(store.read(key, int(headers["Nats-Sequence"]), message.data, headers))
    assert found == [
        Stored(JOB, 1, pending()),
        StoredBatch(BATCH, 2, submitted()),
        Stored(JOB, 3, None, "digest"),
        StoredBatch(BATCH, 4, None),
    ]


async def test_work_finds_the_record_that_it_was_ordered_for(store: JobStore) -> None:
    work = DownloadWork(job_id=JOB, source=pending().source)
    reading = ExpandWork(job_id=BATCH, playlist="https://example.org/list", limit=9)
    assert (await store.ordering(work), await store.ordering(reading)) == (None, None)
    revision = await store.write(pending(), 0)
    await store.write_batch(submitted(), 0)
    assert (await store.ordering(work), await store.ordering(reading)) == (pending(), submitted())
    await store.remove(JOB, revision)
    assert await store.ordering(work) is None


async def test_a_bucket_that_is_gone_is_no_empty_one(store: JobStore, js: JetStreamContext) -> None:
    await js.delete_stream(JOBS)
    with pytest.raises(ConnectionError):
        await records(store)
