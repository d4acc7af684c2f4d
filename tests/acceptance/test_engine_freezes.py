"""A separator and another one's engine stand still for 40 s: a third goes on in their stead."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.actor.host import IN_PROGRESS_SECONDS
from shared.contracts.facts import Separated
from shared.errors import Code
from shared.jetstream.topology import WORKER_ACK_WAIT
from tests.acceptance.api import PATIENCE
from tests.acceptance.trial import SETTINGS, trying
from tests.support import media
from tests.support.audio import song
from tests.support.processes import freeze, thaw
from tests.support.stack import listening, running_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.acceptance.trial import Trial
    from tests.support.stack import RunningStack

#: Seconds of standing still: longer than the broker waits for a worker, shorter than a song's end.
FREEZE_SECONDS = 40.0
#: Chunks enough that two can be in frozen hands while there is something left for the third.
SECONDS = 90.0


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[RunningStack]:
    data = tmp_path_factory.mktemp("crowd")
    with running_stack(data, models=models_dir, settings=SETTINGS, separators=3) as running:
        yield running


@pytest.fixture
async def trial(crowd: RunningStack, tmp_path: Path) -> AsyncIterator[Trial]:
    path = media.write_audio(tmp_path / "long.flac", song(SECONDS).mix.T)
    async with trying(crowd, path) as running:
        yield running


class Member:
    """One of the separators."""

    def __init__(self, trial: Trial, name: str) -> None:
        self._trial = trial
        self.pid = trial.stack.members()[name]
        self.engine = trial.stack.engine(name)
        (port,) = listening(self.pid)
        self._url = f"http://127.0.0.1:{port}"

    async def worker(self) -> str:
        """The name under which it states facts."""
        async with self._trial.api.session.get(f"{self._url}/health") as answer:
            return str((await answer.json())["instance"])

    async def busy(self) -> bool:
        """Whether it has a chunk in hand."""
        async with self._trial.api.session.get(f"{self._url}/metrics") as answer:
            text = await answer.text()
        values = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return values["stembus_separate_slots_busy"] >= 1.0

    async def stuck(self) -> None:
        """Freeze its engine with a chunk in hand."""
        freeze(self.engine)
        name = await self.worker()
        async with asyncio.timeout(PATIENCE):
            while True:
                # What the engine had said before may still be on its way: then it is free again.
                told = self._told(name)
                looks = [await self.busy() for _ in range(3)]
                await self._trial.heard.flush()
                if all(looks) and self._told(name) == told:
                    return

    def _told(self, name: str) -> int:
        facts = (one for one in self._trial.heard.messages if isinstance(one, Separated))
        return sum(fact.worker == name for fact in facts)


@pytest.mark.timeout(240)
async def test_what_stands_still_for_40_s_is_done_by_another_and_counts_once(
    trial: Trial,
) -> None:
    expected = await trial.undisturbed()
    job_id = await trial.submit()
    await trial.chunk_done(job_id)
    stale, slow = (Member(trial, f"separator-{number}") for number in (1, 2))
    await stale.stuck()
    freeze(stale.pid)
    # Its engine goes on, and has a chunk done that nobody is told of.
    thaw(stale.engine)
    await slow.stuck()
    began = monotonic()
    in_hand = trial.heard.orders(job_id).keys() - trial.heard.done(job_id).keys()

    # The third does what is free, and the stale one's chunk once the broker has given that up.
    chunks = (await trial.api.job(job_id))["separation"]["chunks"]
    await trial.chunk_done(job_id, chunks - 1)
    assert monotonic() - began > WORKER_ACK_WAIT - IN_PROGRESS_SECONDS
    await asyncio.sleep(began + FREEZE_SECONDS - monotonic())
    (last,) = trial.heard.orders(job_id).keys() - trial.heard.done(job_id).keys()

    thaw(stale.pid)
    async with asyncio.timeout(PATIENCE):
        while await stale.busy():
            pass
    # Whatever it has said of it: the chunk was done before.
    record = await trial.api.job(job_id)
    assert (record["status"], record["separation"]["chunks_done"]) == ("processing", chunks - 1)
    thaw(slow.engine)
    await trial.assert_unharmed(job_id, expected, twice=in_hand - {last})
    (fact,) = trial.heard.done(job_id)[last]
    assert fact.worker == await slow.worker()


#: Seconds after which an engine that says nothing is given up here; its start is no silence.
SILENCE = 15


async def test_a_chunk_whose_engine_hangs_for_good_is_done_by_the_next_one(
    tmp_path: Path, models_dir: Path
) -> None:
    path = media.write_audio(tmp_path / "song.flac", song(45.0).mix.T)
    settings = SETTINGS | {"STEMBUS_ENGINE_SILENCE_SECONDS": str(SILENCE)}
    with running_stack(tmp_path / "data", models=models_dir, settings=settings) as stack:
        async with trying(stack, path) as trial:
            expected = await trial.undisturbed()
            job_id = await trial.submit()
            await trial.chunk_done(job_id)
            struck = await trial.in_the_middle(job_id)
            engine = stack.engine()
            ended = await trial.assert_unharmed(job_id, expected, again={struck.unit})
            (failure,) = trial.heard.failed(job_id)
            assert (failure.unit, failure.problem.code) == (struck.unit, Code.WORKER_TIMED_OUT)
            assert "trying again" in str(ended["timeline"])
            assert stack.engine() != engine
