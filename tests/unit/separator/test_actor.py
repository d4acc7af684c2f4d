"""The performers with their real children: works in, facts out, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest

from services.separator.actor import Separator
from services.separator.catalogue import Catalogue
from services.separator.children import encode_starter, engine_starter
from services.separator.config import SeparatorConfig
from services.separator.engines import Engines
from services.separator.finalizer import Finalizer
from services.separator.layout import Seat
from shared.blobs import BlobStore, BlockingBlobs, open_store
from shared.contracts.audio import AudioFormat, Metadata
from shared.contracts.facts import Failed, Finalized, Prepared, Separated
from shared.contracts.live import Activity
from shared.contracts.request import Options
from shared.contracts.work import (
    FinalizeWork,
    PrepareWork,
    RemoveWork,
    SeparateWork,
    Stage,
    SweepWork,
)
from shared.errors import Code, RetryableError, TerminalError
from tests.acceptance.listening import hear
from tests.support.audio import song, stored_track
from tests.support.models import save_package, small_htdemucs

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.separator.catalogue import Found
    from services.separator.messages import EngineReport, EngineRequest
    from shared.child import Child
    from shared.contracts.live import ModelOffer

    EngineChild = Child[EngineRequest, EngineReport]


class Heard(NamedTuple):
    activity: Activity
    fraction: float | None


class Bench(NamedTuple):
    """A separator and a finalizer as wiring makes them, and what they did."""

    separator: Separator
    finalizer: Finalizer
    blobs: BlockingBlobs
    scratch: Path
    started: list[EngineChild]
    heard: list[Heard]
    lines: list[str]
    #: Set as soon as something is reported.
    busy: asyncio.Event

    def report(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        assert isinstance(note, str)
        self.heard.append(Heard(activity, fraction))
        self.busy.set()


@asynccontextmanager
async def bench(
    folder: Path, models_dir: Path, *, lanes: int = 1, windows: int = 3
) -> AsyncIterator[Bench]:
    config = SeparatorConfig(
        blobs_url=f"file://{folder}/blobs",
        scratch_dir=str(folder / "scratch"),
        models_dir=str(models_dir),
        fetch_weights=False,
        device=("cpu",),
        torch_threads=1,
        windows_per_chunk=windows,
    )
    environ = {"XDG_CACHE_HOME": str(folder / "cache")}
    lines: list[str] = []
    start = engine_starter(config, environ, lines.append)
    started: list[EngineChild] = []

    async def start_and_count(seat: Seat) -> EngineChild:
        started.append(await start(seat))
        return started[-1]

    seat = Seat(device="cpu", number=0, lanes=lanes, threads=1)
    engines = Engines(start=start_and_count, seats=[seat], log=lines.append)
    store = open_store(config.blobs_url)
    made = Bench(
        Separator(engines=engines, silence=60, clock=time.monotonic, log=lines.append),
        Finalizer(
            start=encode_starter(config, environ, lines.append),
            blobs=BlobStore(store),
            scratch=folder / "scratch",
            silence=60,
            clock=time.monotonic,
        ),
        BlockingBlobs(store),
        folder / "scratch",
        started,
        [],
        lines,
        asyncio.Event(),
    )
    try:
        yield made
    finally:
        await engines.close()


async def prepare(at: Bench, model: str, seconds: float = 3.0) -> tuple[PrepareWork, Prepared]:
    track = stored_track(at.blobs, song(seconds).mix)
    work = PrepareWork(job_id="j", attempt=2, options=Options(model=model), track=track)
    fact = await at.separator.perform(work, at.report)
    assert isinstance(fact, Prepared)
    assert (fact.job_id, fact.stage, fact.unit, fact.attempt) == ("j", Stage.SEPARATE, "prepare", 2)
    return work, fact


def chunk_work(prepared: tuple[PrepareWork, Prepared], chunk: int) -> SeparateWork:
    work, fact = prepared
    return SeparateWork(
        job_id="j",
        run="r",
        unit=str(chunk),
        attempt=3,
        chunk=chunk,
        track=work.track,
        plan=fact.plan,
    )


def finalize_work(prepared: tuple[PrepareWork, Prepared]) -> FinalizeWork:
    work, fact = prepared
    return FinalizeWork(
        job_id="j",
        run="r",
        track=work.track,
        plan=fact.plan,
        attempts=(3,) * fact.plan.chunks,
        format=AudioFormat.FLAC,
        metadata=Metadata(title="Song"),
    )


async def test_a_chunk_that_had_to_leave_its_device_says_so(
    tmp_path: Path, models_dir: Path
) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "tiny")
        at.separator._device = "cuda:0"  # what the engine said when it began
        fact = await at.separator.perform(chunk_work(prepared, 0), at.report)
        assert isinstance(fact, Separated)
        assert fact.note == "no room on cuda:0: computed on the CPU"


async def test_a_track_becomes_stems(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "tiny")
        plan = prepared[1].plan
        assert plan.chunks == 2
        for chunk in range(plan.chunks):
            fact = await at.separator.perform(chunk_work(prepared, chunk), at.report)
            assert isinstance(fact, Separated)
            assert (fact.unit, fact.attempt, fact.device) == (str(chunk), 3, "cpu")
            assert fact.elapsed > 0
            assert not fact.note
        assert at.heard[-1] == Heard(Activity.SEPARATING, 1.0)
        assert list(at.separator.speeds) == ["tiny"]
        assert len(at.started) == 1

        done = await at.finalizer.perform(finalize_work(prepared), at.report)
        assert isinstance(done, Finalized)
        assert (done.stage, done.unit, done.attempt) == (Stage.FINALIZE, "stems", 1)
        assert at.heard[-1].activity is Activity.ENCODING
        result = done.result
        assert [one.name for one in result.stems] == list(plan.stems)
        files = {
            name: hear(at.blobs.get_range(key, 0, at.blobs.size(key))).samples
            for name in plan.stems
            if (key := f"results/{result.id}/{name}.flac")
        }
        mix = song(3.0).mix * result.gain
        both = files["vocals"] + files["instrumental"]
        np.testing.assert_allclose(mix, both, atol=2.0**-22)
        assert not list(at.scratch.glob("encode-*"))

        assert list((tmp_path / "blobs/work").rglob("chunk-*"))
        at.blobs.put("work/r/4/chunk-0", b"of the retry that followed")
        assert (
            await at.finalizer.perform(SweepWork(job_id="j", run="r", attempt=3), at.report) is None
        )
        left = [path.parent.name for path in (tmp_path / "blobs/work").rglob("chunk-*")]
        assert left == ["4"]
        assert (
            await at.finalizer.perform(SweepWork(job_id="j", run="r", attempt=3), at.report) is None
        )


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_cancelled_chunk_is_left_at_once_and_an_engine_that_hangs_is_killed(
    tmp_path: Path, models_dir: Path, *, hangs: bool
) -> None:
    # Windows that are short, so that it is heeded soon, and many, so that there is time for it.
    async with bench(tmp_path, models_dir, windows=200) as at:
        prepared = await prepare(at, "tiny", seconds=60.0)
        at.busy.clear()
        task = asyncio.create_task(at.separator.perform(chunk_work(prepared, 0), at.report))
        await at.busy.wait()
        if hangs:
            os.kill(at.started[0].pid, signal.SIGSTOP)
        task.cancel()
        asked = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - asked < 2
        assert at.started[0].alive is not hangs
        assert not list((tmp_path / "blobs").glob("work/**/chunk-*"))
        await prepare(at, "dsp", seconds=1.0)
        assert len(at.started) == 1 + hangs


async def kill_at_work(at: Bench) -> None:
    """Kill the newest engine as soon as it is at work on something."""
    at.busy.clear()
    await at.busy.wait()
    os.kill(at.started[-1].pid, signal.SIGKILL)


async def test_a_chunk_survives_the_death_of_its_engine(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "dsp", seconds=60.0)
        killer = asyncio.create_task(kill_at_work(at))
        fact = await at.separator.perform(chunk_work(prepared, 0), at.report)
        await killer
        assert isinstance(fact, Separated)
        assert [one.alive for one in at.started] == [False, True]


async def test_an_engine_that_dies_again_and_again_is_an_error_with_a_code(
    tmp_path: Path, models_dir: Path
) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "dsp", seconds=60.0)

        async def kill_all() -> None:
            while True:
                await kill_at_work(at)

        killer = asyncio.create_task(kill_all())
        with pytest.raises(RetryableError) as caught:
            await at.separator.perform(chunk_work(prepared, 0), at.report)
        killer.cancel()
        assert caught.value.code == Code.WORKER_CRASHED
        await prepare(at, "dsp", seconds=1.0)


async def test_an_engine_that_is_started_again_is_warm(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "tiny")
        os.kill(at.started[0].pid, signal.SIGKILL)
        await at.separator.perform(chunk_work(prepared, 0), at.report)
        at.heard.clear()
        await at.separator.perform(chunk_work(prepared, 1), at.report)
        assert Activity.LOADING_MODEL not in {one.activity for one in at.heard}
        assert len(at.started) == 2


async def test_calling_one_chunk_off_leaves_the_others_of_its_engine_alone(
    tmp_path: Path, models_dir: Path
) -> None:
    async with bench(tmp_path, models_dir, lanes=2) as at:
        prepared = await prepare(at, "dsp", seconds=60.0)
        at.busy.clear()
        tasks = [
            asyncio.create_task(at.separator.perform(chunk_work(prepared, chunk), at.report))
            for chunk in range(2)
        ]
        await at.busy.wait()
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert isinstance(await tasks[1], Separated)
        assert len(at.started) == 1
        assert not list((tmp_path / "blobs/work/r/3").glob("chunk-0"))


async def test_another_version_of_the_model_is_refused(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        work, fact = await prepare(at, "tiny")
        other = msgspec.structs.replace(
            fact, plan=msgspec.structs.replace(fact.plan, digest="0" * 32)
        )
        with pytest.raises(RetryableError) as caught:
            await at.separator.perform(chunk_work((work, other), 0), at.report)
        assert caught.value.code == Code.MODEL_CHANGED
        # The engine is none the worse for it.
        await at.separator.perform(chunk_work((work, fact), 0), at.report)
        assert len(at.started) == 1


async def test_a_track_that_is_gone_is_said_so(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "dsp")
        (tmp_path / f"blobs/tracks/{prepared[0].track.id}/audio.f32").unlink()
        with pytest.raises(TerminalError) as caught:
            await at.separator.perform(chunk_work(prepared, 0), at.report)
        assert caught.value.code == Code.BLOB_MISSING
        fact = await at.finalizer.perform(finalize_work(prepared), at.report)
        assert isinstance(fact, Failed)
        assert (fact.problem.code, fact.track_lost, fact.lost) == (Code.BLOB_MISSING, True, ())
        assert not list(at.scratch.glob("encode-*"))


async def test_a_damaged_track_is_taken_away_so_that_nobody_finds_it_whole(
    tmp_path: Path, models_dir: Path
) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "tiny")
        for chunk in range(2):
            await at.separator.perform(chunk_work(prepared, chunk), at.report)
        folder = tmp_path / f"blobs/tracks/{prepared[0].track.id}"
        (folder / "track.json").write_text("{}")
        audio = bytearray((folder / "audio.f32").read_bytes())
        audio[len(audio) // 2] ^= 1
        (folder / "audio.f32").write_bytes(audio)
        fact = await at.finalizer.perform(finalize_work(prepared), at.report)
        assert isinstance(fact, Failed)
        assert (fact.problem.code, fact.track_lost) == (Code.BLOB_CORRUPT, True)
        assert list(folder.iterdir()) == []
        assert not list((tmp_path / "blobs").glob("results/*/*"))


async def test_lost_chunks_are_named_and_nothing_is_delivered(
    tmp_path: Path, models_dir: Path
) -> None:
    async with bench(tmp_path, models_dir) as at:
        prepared = await prepare(at, "tiny")
        for chunk in range(2):
            await at.separator.perform(chunk_work(prepared, chunk), at.report)
        (tmp_path / "blobs/work/r/3/chunk-1").unlink()
        fact = await at.finalizer.perform(finalize_work(prepared), at.report)
        assert isinstance(fact, Failed)
        assert (fact.stage, fact.unit, fact.attempt) == (Stage.FINALIZE, "stems", 1)
        assert fact.lost == (1,)
        assert fact.problem.code == Code.BLOB_MISSING
        assert not list((tmp_path / "blobs").glob("results/*/*"))
        assert not list(at.scratch.glob("encode-*"))


async def looked(at: Bench, folder: Path, models_dir: Path, *before: Callable[[], object]) -> None:
    """Watch the models, doing something before each look."""
    catalogue = Catalogue(models_dir=models_dir, hub_cache=folder, torch_hub=folder)
    acts = iter(before)

    async def pause() -> None:
        """The next look is due at once."""

    def look() -> dict[Found, ModelOffer]:
        try:
            next(acts)()
        except StopIteration:
            raise RuntimeError("enough") from None
        return catalogue.offers()

    with pytest.raises(RuntimeError, match="enough"):
        await at.separator.watch_models(look, pause)


async def test_a_folder_that_can_t_be_read_for_a_while_ends_nothing(
    tmp_path: Path, models_dir: Path
) -> None:
    def fail() -> None:
        raise OSError("stale file handle")

    async with bench(tmp_path, models_dir) as at:
        await looked(at, tmp_path, models_dir, fail, lambda: None, fail)
        assert "tiny" in {one.name for one in at.separator.offers()}
        assert sum("stale file handle" in line for line in at.lines) == 2


async def test_a_new_model_is_offered_while_the_engine_is_busy(
    tmp_path: Path, models_dir: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models_dir, folder)
    catalogue = Catalogue(models_dir=folder, hub_cache=tmp_path, torch_hub=tmp_path)
    due, looked_at = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        looked_at.set()
        await due.wait()
        due.clear()

    async def offers() -> dict[str, ModelOffer]:
        """After one more look."""
        looked_at.clear()
        due.set()
        await asyncio.wait_for(looked_at.wait(), 60)
        return {one.name: one for one in at.separator.offers()}

    async with bench(tmp_path, folder) as at:
        watching = asyncio.create_task(at.separator.watch_models(catalogue.offers, pause))
        _, fact = await prepare(at, "duo")
        before = await offers()
        assert before["duo"].digest == fact.plan.digest
        async with at.separator._engines.lend():
            save_package(small_htdemucs(8), folder, "added")
            save_package(small_htdemucs(9), folder, "tiny2")
            busy = await offers()
            assert busy == await offers()
        assert (busy["added"].sources, busy["added"].ready) == ((), True)
        assert (busy["duo"], busy["dsp"]) == (before["duo"], before["dsp"])
        assert busy.keys() == {*before, "added"}
        described = await offers()
        assert described["added"].sources == described["tiny2"].sources == before["tiny"].sources
        assert described["duo"] == before["duo"]
        watching.cancel()


async def test_the_offers_follow_the_folder(tmp_path: Path, models_dir: Path) -> None:
    async with bench(tmp_path, models_dir) as at:
        await looked(at, tmp_path, models_dir, lambda: None, lambda: None)
        offers = {one.name: one for one in at.separator.offers()}
        assert offers["duo"].sources == ("vocals", "instrumental")
        assert offers["tiny"].origin == "local"
        assert offers["dsp"].ready
        assert not offers["htdemucs"].ready
        assert at.separator.device == "cpu"


BEFORE = datetime(2026, 5, 4, tzinfo=UTC)
YOUNG, OLD = BEFORE.timestamp(), BEFORE.timestamp() - 1
KEYS = {
    "results/r1/peaks.json": OLD,
    "results/r1/vocals.flac": OLD,
    "results/r2/vocals.flac": OLD,
    "tracks/t1/audio.f32": OLD,
    "tracks/t1/original.mp3": OLD,
    "tracks/t1/track.json": OLD,
    "tracks/t2/track.json": OLD,
    "work/j/1/chunk-0": OLD,
    "work/j2/1/chunk-0": OLD,
}
OF_RESULT = {"results/r1/peaks.json", "results/r1/vocals.flac"}
OF_TRACK = {"tracks/t1/audio.f32", "tracks/t1/original.mp3", "tracks/t1/track.json"}
OF_WORK = {"work/j/1/chunk-0"}


def removal(track: str | None = "t1", result: str | None = "r1") -> RemoveWork:
    return RemoveWork(job_id="j", before=BEFORE, track=track, result=result)


@pytest.mark.parametrize(
    ("work", "touched", "gone"),
    [
        (removal(), None, OF_RESULT | OF_TRACK | OF_WORK),
        (removal(track=None), None, OF_RESULT | OF_WORK),
        (removal(result=None), None, OF_TRACK | OF_WORK),
        (removal(None, None), None, OF_WORK),
        (removal(), "tracks/t1/track.json", OF_RESULT | OF_WORK),
        (removal(), "results/r1/peaks.json", OF_TRACK | OF_WORK),
        (removal(), "results/r1/drums.flac", OF_TRACK | OF_WORK),
        (removal(), "work/j/1/chunk-0", OF_TRACK | OF_RESULT),
        (removal("t9", "r9"), None, OF_WORK),
    ],
)
async def test_a_forgotten_job_s_files_go_unless_somebody_uses_them(
    tmp_path: Path, work: RemoveWork, touched: str | None, gone: set[str]
) -> None:
    root = tmp_path / "blobs"
    times = {**KEYS, touched: YOUNG} if touched else KEYS
    for key, at in times.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (at, at))

    async def no_child(_: Path) -> EngineChild:
        raise NotImplementedError

    finalizer = Finalizer(
        start=no_child,
        blobs=BlobStore(open_store(root.as_uri())),
        scratch=tmp_path / "scratch",
        silence=1.0,
        clock=time.monotonic,
    )
    for _ in range(2):  # it may come twice
        assert await finalizer.perform(work, lambda *_: None) is None
        left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        assert left == set(times) - gone
