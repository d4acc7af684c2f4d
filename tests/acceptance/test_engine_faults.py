"""What can befall an engine and its chunks: the job completes, and no finished chunk is made twice.

Counted are the scheduler's orders and the workers' facts, heard on the bus; the stems are those
of a run to which nothing happened.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shared.contracts.codec import encode
from shared.contracts.facts import Failed
from shared.contracts.live import Tick
from shared.contracts.problem import Problem
from shared.contracts.subjects import subject_of
from shared.contracts.work import Stage
from shared.errors import Code, TerminalError
from tests.acceptance.api import endings
from tests.acceptance.trial import QUANTIZATION, SECONDS, SETTINGS, trying
from tests.support import media
from tests.support.audio import song
from tests.support.disk import small_disk
from tests.support.processes import ends_within, thaw
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.acceptance.trial import Stems, Trial
    from tests.support.stack import RunningStack

#: Two chunks in one engine: what befalls one must not harm the other.
TWO_AT_ONCE = SETTINGS | {"STEMBUS_SEPARATE_SLOTS": "2"}
#: Room for the chunks of one song, far below what a disk has.
DISK_BYTES = 256 << 20
#: How a job's timeline tells of it.
FULL = "The server's disk is full; trying again"
#: Seconds within which a running job stops, by promise.
PROMPT = 2.0


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.flac"
    return media.write_audio(path, song(SECONDS).mix.T)


@pytest.fixture(scope="module")
def hurt_stack(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[RunningStack]:
    """A stack whose temporary blobs lie on a small disk of their own, where that can be had."""
    data = tmp_path_factory.mktemp("hurt")
    with (
        small_disk(data / "blobs" / "work", DISK_BYTES),
        running_stack(data, models=models_dir, settings=TWO_AT_ONCE) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def expected(hurt_stack: RunningStack, long_song: Path) -> Stems:
    """The stems of a run to which nothing happens."""

    async def run() -> Stems:
        async with trying(hurt_stack, long_song) as trial:
            return await trial.undisturbed()

    return asyncio.run(run())


@pytest.fixture
async def trial(hurt_stack: RunningStack, long_song: Path, expected: Stems) -> AsyncIterator[Trial]:
    assert expected
    async with trying(hurt_stack, long_song) as running:
        yield running


async def test_a_chunk_whose_engine_is_killed_goes_on_in_the_next_one(
    trial: Trial, expected: Stems
) -> None:
    job_id = await trial.submit()
    for chunks in (1, 3):
        await trial.chunk_done(job_id, chunks)
        await trial.in_the_middle(job_id)
        os.kill(trial.stack.engine(), signal.SIGKILL)
    ended = await trial.assert_unharmed(job_id, expected)
    assert trial.heard.failed(job_id) == []
    assert "again" not in str(ended["timeline"])


async def test_a_chunk_that_has_cost_two_engines_is_ordered_again_and_no_other_is(
    trial: Trial, expected: Stems
) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id, 2)
    struck = await trial.in_the_middle(job_id)
    os.kill(trial.stack.engine(), signal.SIGKILL)

    def of_that_chunk(tick: Tick) -> bool:
        return (tick.job_id, tick.unit) == (job_id, struck.unit)

    # What the dead engine said last may still be on its way, in one sign of life at most.
    await trial.heard.until(Tick, of_that_chunk, after=len(trial.heard.messages))
    await trial.in_the_middle(job_id, unit=struck.unit)
    os.kill(trial.stack.engine(), signal.SIGKILL)
    ended = await trial.assert_unharmed(job_id, expected, again={struck.unit})
    (failure,) = trial.heard.failed(job_id)
    assert (failure.unit, failure.problem.code) == (struck.unit, Code.WORKER_CRASHED)
    assert "died; trying again" in str(ended["timeline"])


async def test_a_job_waits_for_room_on_a_full_disk_and_then_goes_on_where_it_was(
    trial: Trial, expected: Stems
) -> None:
    work = trial.stack.data / "blobs" / "work"
    if not work.is_mount():
        pytest.skip("nobody may mount a small disk here")
    job_id = await trial.submit()
    await trial.chunk_done(job_id, 2)
    await trial.in_the_middle(job_id)
    filler = work / "filler"
    fill(filler)
    thaw(trial.stack.engine())
    failure = await trial.heard.until(Failed, lambda fact: fact.job_id == job_id)
    assert (failure.problem.code, failure.problem.retryable) == (Code.STORAGE_FULL, True)
    await trial.api.until(job_id, lambda event: FULL in str(event.data.get("timeline")))
    filler.unlink()
    # Whatever was tried in the meantime found no room either.
    again = {fact.unit for fact in trial.heard.failed(job_id)}
    await trial.assert_unharmed(job_id, expected, again=again)


def flipped(chunk: Path) -> None:
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2 + 3] ^= 0x80  # of a track, the sign of a sample in the middle
    chunk.write_bytes(data)


def truncated(chunk: Path) -> None:
    with chunk.open("r+b") as file:
        file.truncate(chunk.stat().st_size - 1)


def emptied(chunk: Path) -> None:
    chunk.write_bytes(b"")


def deleted(chunk: Path) -> None:
    chunk.unlink()


#: What is done to chunks, each to another one.
DAMAGE: tuple[Callable[[Path], None], ...] = (flipped, truncated, deleted)


async def test_of_chunks_that_are_damaged_in_the_store_only_these_are_computed_again(
    trial: Trial, expected: Stems
) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id, len(DAMAGE))
    await trial.in_the_middle(job_id)
    damaged = list(trial.heard.done(job_id))[: len(DAMAGE)]
    for unit, damage in zip(damaged, DAMAGE, strict=True):
        damage(trial.chunk(job_id, unit))
    thaw(trial.stack.engine())
    await trial.assert_unharmed(job_id, expected, again=damaged)


@pytest.mark.parametrize("damage", [flipped, truncated, emptied, deleted])
async def test_a_track_that_is_damaged_under_a_job_is_fetched_again_and_nothing_wrong_comes_of_it(
    damage: Callable[[Path], None], trial: Trial, expected: Stems
) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id)
    await trial.in_the_middle(job_id)
    await trial.heard.flush()
    finished = trial.heard.done(job_id).keys()
    (track,) = (trial.stack.data / "blobs" / "tracks").glob("*/audio.f32")
    damage(track)
    thaw(trial.stack.engine())
    job = await trial.api.ended(job_id)
    assert job["status"] == "completed", job["error"]
    assert endings(job) == ["completed"]
    assert "making it anew" in str(job["timeline"])
    stems = await trial.stems(job)
    for name, samples in stems.items():
        np.testing.assert_allclose(samples, expected[name], rtol=0, atol=QUANTIZATION)
    await trial.swept(job_id)
    # What was computed from the track as it was is good.
    await trial.heard.flush()
    assert finished
    done = trial.heard.done(job_id)
    assert {unit: len(done[unit]) for unit in finished} == dict.fromkeys(finished, 1)


@pytest.mark.promise
async def test_a_job_cancelled_in_the_middle_of_a_chunk_leaves_nothing_and_the_engine_warm(
    trial: Trial,
) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id)
    await trial.in_the_middle(job_id)
    engine = trial.stack.engine()
    thaw(engine)
    await trial.api.order(job_id, "cancel")
    await trial.swept(job_id)
    assert not ends_within(engine, PROMPT)
    assert trial.stack.engine() == engine
    assert trial.blobs(f"work/{job_id}") == []


@pytest.mark.promise
async def test_a_job_cancelled_while_its_engine_hangs_leaves_nothing_either(trial: Trial) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id)
    await trial.in_the_middle(job_id)
    engine = trial.stack.engine()
    await trial.api.order(job_id, "cancel")
    assert await asyncio.to_thread(ends_within, engine, PROMPT)
    await trial.swept(job_id)


async def test_what_a_job_that_failed_for_good_has_made_is_kept_for_a_retry(
    trial: Trial, expected: Stems
) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id, 2)
    await fail_for_good(trial, job_id)
    # What was computed beside it may have been done in the meantime, too.
    done = trial.heard.done(job_id)
    kept = trial.blobs(f"work/{job_id}")
    assert {f"1/chunk-{unit}" for unit in done} <= set(kept)
    await trial.api.order(job_id, "retry")
    ended = await trial.api.ended(job_id)
    assert ended["status"] == "completed"
    assert {
        unit: len(facts) for unit, facts in trial.heard.done(job_id).items() if unit in done
    } == (dict.fromkeys(done, 1))
    assert (await trial.stems(ended)).keys() == expected.keys()
    await trial.swept(job_id)


async def test_nothing_is_left_of_a_failed_job_that_is_removed(trial: Trial) -> None:
    job_id = await trial.submit()
    await trial.chunk_done(job_id, 2)
    await fail_for_good(trial, job_id)
    assert trial.blobs(f"work/{job_id}")
    await trial.forget(job_id)
    await trial.swept(job_id)


async def fail_for_good(trial: Trial, job_id: str) -> None:
    """A worker says of the chunk that is being computed that it can't be."""
    tick = await trial.in_the_middle(job_id)
    engine = trial.stack.engine()
    problem = Problem.of(TerminalError(Code.INTERNAL, "a test says so"))
    fact = Failed(
        job_id=job_id, stage=Stage.SEPARATE, unit=tick.unit, attempt=tick.attempt, problem=problem
    )
    await trial.heard.say(subject_of(fact), encode(fact))
    assert (await trial.api.ended(job_id))["status"] == "failed"
    # A retry takes what is in the other lane for its own, and waits for it.
    thaw(engine)


def fill(filler: Path) -> None:
    """Leave no room on a disk."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
