"""The one thread that computes: what it runs, in which order, and what it need not run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch

from services.separator import runner as runner_module
from services.separator.batchsize import RECOVERY, Found, SizeBook
from services.separator.devices import CPU
from services.separator.runner import SILENCES, Runner
from shared.contracts.audio import Precision
from shared.errors import Code, RetryableError, TerminalError
from tests.support.audio import Audio, noise, silence
from tests.support.networks import GPU, Cheap, Crowded, Doing, cheap_model, crowded
from tests.support.separating import finished, opened, plan_for, run_all, runner, separate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from services.separator.models import LoadedModel
    from services.separator.runner import Ticket
    from services.separator.windows import ChunkWindows

#: Frames of a track with this many windows, the last of which ends with it.
STRIDE = 75


class Chunk(NamedTuple):
    """A chunk that is a whole song."""

    windows: ChunkWindows
    ticket: Ticket

    @property
    def sums(self) -> NDArray[np.float32]:
        """What came of it."""
        return finished(self.windows, self.ticket).sums


def chunk_of(
    model: LoadedModel,
    audio: Audio,
    device: torch.device = CPU,
    precision: Precision = Precision.EXACT,
) -> Chunk:
    plan = plan_for(model, len(audio), 999, precision=precision)
    return Chunk(*opened(model, plan, audio, 0, device))


def song_of(windows: int, seed: int = 0) -> Audio:
    return noise(windows * STRIDE, seed=seed)


def counted(name: str = "cheap") -> tuple[LoadedModel, Crowded]:
    model, (module,) = crowded(cheap_model(name=name), lambda _: True)
    return model, module


def submitted(one: Runner, *chunks: Chunk) -> Runner:
    for chunk in chunks:
        one.submit(chunk.ticket)
    return one


def alone(model: LoadedModel, audio: Audio) -> NDArray[np.float32]:
    return separate(model, plan_for(model, len(audio), 999), audio).sums


# --- silence


def with_mean(frames: int, mean: float) -> Audio:
    """Silence, but for a short noise at the end; normalized, it is another number for each mean."""
    audio = silence(frames)
    audio[-10:] = noise(10) + np.float32(mean)
    return audio


@pytest.mark.parametrize("batch", [1, 4])
def test_silence_is_computed_once(batch: int) -> None:
    model, module = counted()
    audio = with_mean(20 * STRIDE, 0.5)
    chunk = chunk_of(model, audio)
    silent = [run for run in chunk.ticket.runs if run.silence is not None]
    assert len(silent) == 19
    run_all(submitted(runner(batch=batch), chunk))
    assert sum(module.batches) == len(chunk.ticket.runs) - len(silent) + 1
    np.testing.assert_array_equal(alone(model, audio), chunk.sums)


def test_silence_that_is_known_takes_no_place_in_a_batch() -> None:
    model, module = counted()
    # Noise, silence, noise; the silence of both is the same, and is known from the first.
    songs = [with_mean(8 * STRIDE, 0.5) for _ in range(2)]
    for audio in songs:
        audio[: 3 * STRIDE] = noise(3 * STRIDE)
    shared = runner(batch=4)
    run_all(submitted(shared, chunk_of(model, songs[0])))
    loud = [run for run in chunk_of(model, songs[1]).ticket.runs if run.silence is None]
    module.asked.clear()
    run_all(submitted(shared, chunk_of(model, songs[1])))
    assert sum(module.batches) == len(loud)


def test_what_silence_gives_is_exactly_what_computing_it_gives() -> None:
    model, _ = counted()
    audio = with_mean(9 * STRIDE, 0.5)
    chunk = chunk_of(model, audio)
    run_all(submitted(runner(), chunk))
    for outcome in chunk.ticket.outcomes(lambda: False):
        with torch.inference_mode():
            given = torch.from_numpy(outcome.run.given.copy())[None]
            computed = model.members[0].module(given)[0]
        np.testing.assert_array_equal(computed.numpy(), outcome.output)


def test_a_window_half_outside_the_track_is_computed_unless_all_of_it_is_zeros() -> None:
    model, _ = counted()
    # It begins with a noise and ends in the middle of a window.
    begun = with_mean(3 * STRIDE + 15, 0.5)[::-1]
    assert [run.silence is None for run in chunk_of(model, begun).ticket.runs] == [
        True, False, True, True,
    ]  # fmt: skip
    nothing = chunk_of(model, silence(len(begun)))
    assert all(run.silence is not None for run in nothing.ticket.runs)


def test_songs_with_other_means_have_other_silences() -> None:
    model, module = counted()
    songs = [with_mean(6 * STRIDE, mean) for mean in (0.1, 0.7)]
    expected = [alone(model, audio) for audio in songs]
    module.asked.clear()
    chunks = [chunk_of(model, audio) for audio in songs]
    run_all(submitted(runner(), *chunks))
    # Of each its own silence once, and its end.
    assert sum(module.batches) == 4
    for wanted, chunk in zip(expected, chunks, strict=True):
        np.testing.assert_array_equal(wanted, chunk.sums)


def test_only_the_last_used_silences_are_kept() -> None:
    model, module = counted()
    kept = runner()

    def computed(song: int) -> bool:
        """Whether a song of silence and an end costs more than its end."""
        module.asked.clear()
        run_all(submitted(kept, chunk_of(model, with_mean(3 * STRIDE, 0.1 + 0.05 * song))))
        return sum(module.batches) > 1

    assert all(computed(song) for song in range(SILENCES))
    assert not computed(0)  # it is the last used now
    assert computed(SILENCES)  # and this one pushes the oldest out
    assert not computed(0)
    assert computed(1)
    assert len(kept._silences) == SILENCES


# --- tickets


def test_outcomes_come_in_the_order_of_the_windows() -> None:
    model, _ = counted()
    chunk = chunk_of(model, song_of(7))
    run_all(submitted(runner(batch=3), chunk))
    assert [run.window for run in chunk.ticket.runs] == [
        outcome.run.window for outcome in chunk.ticket.outcomes(lambda: False)
    ]


def test_a_runner_without_tickets_has_nothing_to_do() -> None:
    assert not runner().step()


def test_a_chunk_that_is_called_off_is_dropped_and_the_others_go_on() -> None:
    dropped, dropped_module = counted("dropped")
    other, other_module = counted("other")
    audio = song_of(5)
    expected = alone(other, audio)
    other_module.asked.clear()
    first, second = chunk_of(dropped, audio), chunk_of(other, audio)
    shared = submitted(runner(), first, second)
    assert shared.step()
    assert list(first.ticket.outcomes(lambda: True)) == []
    first.ticket.leave()
    run_all(shared)
    assert dropped_module.batches == [1]
    assert other_module.batches == [1] * 5
    np.testing.assert_array_equal(expected, second.sums)
    assert not first.ticket.waiting


def test_a_chunk_that_is_called_off_while_its_size_is_measured_leads_nobody_astray() -> None:
    """What is chosen next must not run through the network of the one that is gone."""
    other = cheap_model(Cheap(0.75), name="other")
    audio = song_of(4)
    expected = alone(other, audio)
    gone: list[Chunk] = []
    leaving = cheap_model(Doing(lambda _: gone[0].ticket.call_off()), name="leaving")
    gone.append(chunk_of(leaving, audio, GPU))
    stays = chunk_of(other, audio, GPU)
    shared = submitted(runner(GPU, batch=0), gone[0], stays)
    run_all(shared)
    np.testing.assert_allclose(expected, stays.sums, atol=1e-6)


# --- batches


def test_batches_mix_songs() -> None:
    model, module = counted()
    songs = [song_of(3, seed) for seed in range(3)]
    expected = [alone(model, audio) for audio in songs]
    module.asked.clear()
    chunks = [chunk_of(model, audio) for audio in songs]
    run_all(submitted(runner(batch=4), *chunks))
    assert module.batches == [4, 4, 1]
    for wanted, chunk in zip(expected, chunks, strict=True):
        np.testing.assert_allclose(wanted, chunk.sums, atol=1e-6)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_of_chunks_in_one_batch_only_the_one_that_fails_alone_is_to_blame(bad: int) -> None:
    chunks: list[Chunk] = []

    def check(mix: torch.Tensor) -> None:
        for window in mix.numpy():
            if any(np.array_equal(window, run.given) for run in chunks[bad].ticket.runs):
                raise ArithmeticError(str(len(mix)))

    model = cheap_model(Doing(check))
    songs = [song_of(3, seed) for seed in range(3)]
    expected = [alone(cheap_model(), audio) for audio in songs]
    chunks += [chunk_of(model, audio) for audio in songs]
    run_all(submitted(runner(batch=4), *chunks))
    for number, (wanted, chunk) in enumerate(zip(expected, chunks, strict=True)):
        if number == bad:
            with pytest.raises(RetryableError, match="ArithmeticError") as caught:
                assert chunk.sums.size
            assert caught.value.code is Code.WORKER_CRASHED
        else:
            np.testing.assert_allclose(wanted, chunk.sums, atol=1e-6)


def test_what_half_the_bits_do_not_hold_is_computed_with_all_of_them() -> None:
    """Only the windows that came to nothing."""
    fast: list[bool] = []

    class Overflows(Cheap):
        def forward(self, mix: torch.Tensor) -> torch.Tensor:
            made = super().forward(mix)
            fast.append(torch.backends.cudnn.allow_tf32)
            if fast[-1]:
                made[mix.abs().amax(dim=(1, 2)) > 10] = torch.inf
            return made

    model, module = crowded(cheap_model(Overflows()), lambda _: True)
    audio = song_of(6)
    audio[2 * STRIDE + 40] = 1000.0
    expected = alone(cheap_model(), audio)
    chunk = chunk_of(model, audio, precision=Precision.FAST)
    run_all(submitted(runner(batch=3), chunk))
    np.testing.assert_allclose(expected, chunk.sums, atol=1e-4)
    assert (fast, module[0].batches) == ([True, False, True], [3, 1, 3])


def test_a_network_that_gives_no_numbers_at_all_is_said_to() -> None:
    def breaks(mix: torch.Tensor) -> None:
        mix[:] = torch.nan

    chunk = chunk_of(cheap_model(Doing(breaks)), song_of(2), precision=Precision.FAST)
    run_all(submitted(runner(), chunk))
    with pytest.raises(TerminalError, match="not audio") as caught:
        assert chunk.sums.size
    assert caught.value.code is Code.INTERNAL


def test_a_device_that_does_nothing_any_more_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its error would be that of every chunk to come."""

    def fail(_: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(runner_module, "works", lambda device: device != GPU)
    model = cheap_model(Doing(fail))
    chunk, other = chunk_of(model, song_of(2), GPU), chunk_of(model, song_of(2))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run_all(submitted(runner(GPU), chunk))
    run_all(submitted(runner(), other))  # where it works, it is the model's own fault
    with pytest.raises(RetryableError, match="illegal memory access"):
        assert other.sums.size


def test_models_do_not_mix() -> None:
    (one, one_module), (two, two_module) = counted("one"), counted("two")
    audio = song_of(3)
    chunks = [chunk_of(model, audio) for model in (one, two, one)]
    run_all(submitted(runner(batch=8), *chunks))
    assert (one_module.batches, two_module.batches) == ([6], [3])


def test_exact_and_fast_do_not_mix() -> None:
    model, module = counted()
    chunks = [
        chunk_of(model, song_of(3), precision=one)
        for one in (Precision.EXACT, Precision.FAST, Precision.EXACT)
    ]
    run_all(submitted(runner(batch=8), *chunks))
    assert module.batches == [6, 3]


# --- sizes


class Clock:
    """Takes as long for a batch as a table says."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def take(self, mix: torch.Tensor) -> None:
        """Compute that many windows."""
        self.now += self.seconds[len(mix)]


#: Four windows at once are the fastest.
SECONDS = {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 8: 9.0}


def test_a_device_is_measured_once_and_the_next_runner_reads_it(tmp_path: Path) -> None:
    clock = Clock(SECONDS)
    module = Crowded(Doing(clock.take))
    model = cheap_model(module)
    book = tmp_path / "sizes.json"
    first = runner(GPU, batch=0, book=book, clock=clock)
    run_all(submitted(first, chunk_of(model, song_of(8), GPU)))
    assert module.batches == [1, 1, 2, 2, 4, 4, 8, 8, 4, 4]
    run_all(submitted(first, chunk_of(model, song_of(8), GPU)))
    assert module.batches[10:] == [4, 4]
    again = runner(GPU, batch=0, book=book, clock=clock)
    run_all(submitted(again, chunk_of(model, song_of(8), GPU)))
    assert module.batches[12:] == [4, 4]
    assert SizeBook(book, str(GPU)).get(f"{model.digest}/exact") == Found(4)


def test_another_precision_is_another_measurement(tmp_path: Path) -> None:
    clock = Clock(SECONDS)
    module = Crowded(Doing(clock.take))
    model = cheap_model(module)
    shared = runner(GPU, batch=0, book=tmp_path / "sizes.json", clock=clock)
    for precision in Precision:
        module.asked.clear()
        run_all(submitted(shared, chunk_of(model, song_of(4), GPU, precision)))
        assert module.batches == [1, 1, 2, 2, 4, 4, 8, 8, 4]


def test_a_cpu_is_not_measured_and_gets_one_window_at_a_time(tmp_path: Path) -> None:
    model, module = counted()
    run_all(submitted(runner(CPU, batch=0, book=tmp_path / "b"), chunk_of(model, song_of(3))))
    assert module.batches == [1] * 3
    assert list(tmp_path.iterdir()) == []


def test_running_out_halves_and_many_good_batches_raise_again() -> None:
    room = [2]
    model, (module,) = crowded(cheap_model(), lambda windows: windows <= room[0])
    audio = song_of(4 * (RECOVERY + 6))
    chunk = chunk_of(model, audio, GPU)
    shared = submitted(runner(GPU, batch=4), chunk)
    shared.step()  # four do not fit
    room[0] = 4
    run_all(shared)
    assert module.batches[0] == 4
    assert module.batches[1 : RECOVERY + 1] == [2] * RECOVERY
    assert module.batches[RECOVERY + 1 : RECOVERY * 2 + 1][:10] == [3] * 10
    assert chunk.ticket.device == GPU
    np.testing.assert_allclose(alone(model, audio), chunk.sums, atol=1e-6)


# --- the thread


def test_the_loop_wakes_for_whoever_comes_late() -> None:
    model, _ = counted()
    audio = song_of(3)
    expected = alone(model, audio)
    shared = runner()
    threading.Thread(target=shared.loop, daemon=True).start()
    for _ in range(3):  # the second and the third find it asleep, or about to be
        chunk = chunk_of(model, audio)
        shared.submit(chunk.ticket)
        np.testing.assert_array_equal(expected, chunk.sums)


def test_many_threads_may_submit_and_each_gets_its_own() -> None:
    model, _ = counted()
    songs = [song_of(4, seed) for seed in range(8)]
    expected = [alone(model, audio) for audio in songs]
    shared = runner(batch=3)
    threading.Thread(target=shared.loop, daemon=True).start()
    made: dict[int, NDArray[np.float32]] = {}

    def go(song: int) -> None:
        chunk = chunk_of(model, songs[song])
        shared.submit(chunk.ticket)
        made[song] = chunk.sums

    threads = [threading.Thread(target=go, args=(song,)) for song in range(len(songs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for song, wanted in enumerate(expected):
        np.testing.assert_allclose(wanted, made[song], atol=1e-6)
