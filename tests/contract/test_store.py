"""The jobs' bucket: each write a compare-and-set, each read by revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from shared.contracts.codec import encode
from shared.jetstream import store as store_module
from shared.jetstream.store import ConflictError, JobStore, Stored
from shared.jetstream.topology import JOBS, JOBS_SUBJECT
from tests.support.jobs import JOB, completed, downloading, pending

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger

    from shared.contracts.job import Job


@pytest.fixture
def store(nc: Client) -> JobStore:
    return JobStore(nc)


async def records(store: JobStore, after: int = 0) -> list[Stored]:
    return [stored async for stored in store.scan(after)]


async def delete(js: JetStreamContext, job_id: str) -> int:
    """What an operator's ``nats kv del`` does; the revision of the marker."""
    ack = await js.publish(JOBS_SUBJECT + job_id, b"", headers={"KV-Operation": "DEL"})
    return int(ack.seq)


async def test_a_job_that_never_was_is_not_there(store: JobStore) -> None:
    assert (await store.load(JOB), await store.get(JOB)) == (None, None)


@pytest.mark.parametrize("job", [pending(), downloading(), completed()], ids=lambda job: job.status)
async def test_a_record_comes_back_as_it_was_written(store: JobStore, job: Job) -> None:
    revision = await store.write(job, 0)
    assert Stored(JOB, revision, job) == await store.load(JOB)
    assert job == await store.get(JOB)


async def test_a_record_is_created_only_once(store: JobStore) -> None:
    await store.write(pending(), 0)
    with pytest.raises(ConflictError, match=JOB):
        await store.write(downloading(), 0)
    assert pending() == await store.get(JOB)


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
        assert stored.job_id == "j0"
        break
    await scan.aclose()  # type: ignore[attr-defined] # it is a generator
    assert len(await records(store)) == 5


async def test_a_deletion_is_seen_as_one(store: JobStore, js: JetStreamContext) -> None:
    await store.write(pending(), 0)
    marker = await delete(js, JOB)
    assert Stored(JOB, marker, None) == await store.load(JOB)
    assert await store.get(JOB) is None
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
    await js.publish(JOBS_SUBJECT + "newest", b"{")
    assert [Stored(JOB, revision, pending())] == await records(store)
    assert [line["job_id"] for line in log_lines.entries] == ["newer", "newest"]


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
