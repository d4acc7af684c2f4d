"""Scattered and gathered, the result is that of demucs's own apply_model."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.pretrained import get_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.separator.core import SHIFT_SEED
from services.separator.models import ANY_SECONDS, LoadedModel, Member, ModelShelf, _examined
from shared.contracts.audio import SAMPLE_RATE
from shared.separation.windows import normalization
from tests.support.audio import Audio, noise, silence, song, track_of
from tests.support.models import small_hdemucs
from tests.support.separating import finished, gathered, opened, plan_for, runner, separate

if TYPE_CHECKING:
    from pathlib import Path

    from shared.blobs import BlockingBlobs

SEGMENT = 33075
STRIDE = 24806
EVERY_KIND = ["tiny", "hybrid", "timely", "hot", "mixed", "uneven", "duo", "six", "dsp"]


def expected_stems(module: object, audio: Audio, shifts: int = 0) -> dict[str, Audio]:
    """What demucs.api.Separator makes of it."""
    wav = torch.from_numpy(audio.T.copy())
    reference = wav.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    # Not random.seed: the networks themselves draw from it between two shifts.
    offsets = random.Random(SHIFT_SEED)  # noqa: S311 - what the plan draws from
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "randint", offsets.randint)
        made = apply_model(module, ((wav - mean) / std)[None], shifts=shifts)[0] * std + mean
    sources: list[str] = module.sources  # type: ignore[attr-defined] # demucs ships no types
    return {source: one.T.numpy() for source, one in zip(sources, made, strict=True)}


def module_of(model: LoadedModel, models_dir: Path) -> object:
    return model.members[0].module if model.name == "dsp" else get_model(model.name, models_dir)


@pytest.mark.parametrize("mono", [False, True])
@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_kind_of_model_gives_what_demucs_gives(
    name: str, shelf: ModelShelf, models_dir: Path, blobs: BlockingBlobs, *, mono: bool
) -> None:
    model = shelf.get(name, lambda _: None)
    seconds = 13.7 if name == "dsp" else 2.9
    audio = song(seconds).mix + np.float32(0.05)
    if mono:
        audio = np.repeat(audio.mean(axis=1, keepdims=True), 2, axis=1)
    expected = expected_stems(module_of(model, models_dir), audio)
    plan = plan_for(model, len(audio), 2)
    made = gathered(model, plan, audio, blobs, batch=3)
    for source in plan.computed:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)
    np.testing.assert_allclose(audio, made["vocals"] + made["instrumental"], atol=1e-6)


@pytest.mark.parametrize("shifts", [1, 2, 3])
@pytest.mark.parametrize("name", ["tiny", "hybrid", "hot", "mixed", "uneven"])
def test_shifts_are_averaged_as_demucs_averages_them(
    name: str, shifts: int, shelf: ModelShelf, models_dir: Path, blobs: BlockingBlobs
) -> None:
    model = shelf.get(name, lambda _: None)
    audio = song(2.2).mix
    expected = expected_stems(module_of(model, models_dir), audio, shifts)
    plan = plan_for(model, len(audio), 1, shifts=shifts)
    made = gathered(model, plan, audio, blobs, batch=2)
    for source in plan.computed:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)


def test_the_same_shifts_are_drawn_every_time(shelf: ModelShelf) -> None:
    model = shelf.get("mixed", lambda _: None)
    first, again = (plan_for(model, 100_000, 1, shifts=2) for _ in range(2))
    assert first == again
    assert len({one.start for one in first.passes}) == 4


LENGTHS = [1, 2, 1000, STRIDE - 1, STRIDE, STRIDE + 1, SEGMENT, SEGMENT + 1, 2 * STRIDE, 65_537]


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("name", ["tiny", "timely"])
def test_any_length_gives_what_demucs_gives(
    frames: int, name: str, shelf: ModelShelf, models_dir: Path, blobs: BlockingBlobs
) -> None:
    model = shelf.get(name, lambda _: None)
    audio = noise(frames)
    made = gathered(model, plan_for(model, frames, 1), audio, blobs, batch=4)
    if frames == 1:
        # torch's deviation of one sample is nan, and with it all of demucs's output.
        assert all(np.isfinite(one).all() for one in made.values())
        return
    expected = expected_stems(module_of(model, models_dir), audio)
    for source in model.sources:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)


class Edgy(torch.nn.Module):
    """Cheap, and depends on every sample it is given and where: wrong padding shows."""

    def __init__(self, segment: float, extra: int) -> None:
        super().__init__()
        self.sources = ["vocals", "rest"]
        self.samplerate, self.audio_channels, self.segment = 44100, 2, segment
        self.extra = extra
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def valid_length(self, frames: int) -> int:
        return frames + self.extra

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        place = torch.arange(mix.shape[-1]) / mix.shape[-1]
        voice = mix * place + mix.flip(-1) * 0.1 + mix.mean(dim=-1, keepdim=True)
        return torch.stack((voice, mix - voice), dim=1)


def edgy(segment: int, extra: int) -> LoadedModel:
    module = Edgy((segment + 0.5) / 44100, extra)
    members = (Member(module, (1.0, 1.0), segment),)
    return LoadedModel(name="edgy", digest="d", sources=("vocals", "rest"), members=members)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    frames=st.integers(2, 4000),
    segment=st.integers(4, 900),
    extra=st.integers(0, 33),
    per_chunk=st.integers(1, 7),
    batch=st.integers(1, 5),
    shifts=st.integers(0, 2),
    data=st.data(),
)
def test_any_chunking_batching_order_and_repetition_gives_the_same(
    frames: int,
    segment: int,
    extra: int,
    per_chunk: int,
    batch: int,
    shifts: int,
    blobs: BlockingBlobs,
    data: st.DataObject,
) -> None:
    model = edgy(segment, extra)
    audio = noise(frames, seed=frames)
    plan = plan_for(model, frames, per_chunk, shifts=shifts)
    every = list(range(plan.chunks))
    order = data.draw(st.permutations(every)) + data.draw(
        st.lists(st.sampled_from(every), max_size=3)
    )
    made = gathered(model, plan, audio, blobs, batch=batch, order=order)
    expected = expected_stems(model.members[0].module, audio, shifts)
    np.testing.assert_allclose(expected["vocals"], made["vocals"], atol=3e-6)


@pytest.mark.parametrize("name", ["tiny", "timely"])
def test_batches_alike_give_the_same_to_the_bit(name: str, shelf: ModelShelf) -> None:
    model = shelf.get(name, lambda _: None)
    audio = song(2.9).mix
    plan = plan_for(model, len(audio), 5)
    first, again = (separate(model, plan, audio, batch=2).sums for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["tiny", "hybrid", "timely", "hot", "six", "dsp"])
def test_any_cut_any_order_and_any_repetition_is_the_same_to_the_bit(
    name: str, shelf: ModelShelf, blobs: BlockingBlobs
) -> None:
    """Where each stem comes of one network: its windows overlap by two, and sums of two commute."""
    model = shelf.get(name, lambda _: None)
    audio = song(16.0 if name == "dsp" else 4.3).mix
    whole = gathered(model, plan_for(model, len(audio), 99), audio, blobs)
    for per_chunk in (1, 2, 3):
        plan = plan_for(model, len(audio), per_chunk)
        chunks = range(plan.chunks)
        for order in (chunks, [*chunks[::2], *chunks[1::2], *chunks]):
            made = gathered(model, plan, audio, blobs, order=order)
            for stem, expected in whole.items():
                np.testing.assert_array_equal(expected, made[stem])


@pytest.mark.parametrize("shifts", [0, 2])
def test_any_cut_of_what_several_networks_make_together_is_the_same_but_for_rounding(
    shifts: int, shelf: ModelShelf, blobs: BlockingBlobs
) -> None:
    model = shelf.get("mixed", lambda _: None)
    audio = song(4.3).mix
    whole = gathered(model, plan_for(model, len(audio), 99, shifts=shifts), audio, blobs)
    made = gathered(model, plan_for(model, len(audio), 1, shifts=shifts), audio, blobs)
    for stem, expected in whole.items():
        np.testing.assert_allclose(expected, made[stem], rtol=0, atol=5e-7)


def test_a_network_that_takes_windows_of_any_length_gets_ten_seconds(
    blobs: BlockingBlobs,
) -> None:
    module = small_hdemucs(3).eval()
    module.segment = None
    model = _examined("free", module)
    assert model.segments == (int(ANY_SECONDS * SAMPLE_RATE),)
    audio = song(13.0).mix
    made = gathered(model, plan_for(model, len(audio), 1), audio, blobs)
    module.segment = ANY_SECONDS
    expected = expected_stems(module, audio)
    for source in model.sources:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)


def test_chunks_of_several_songs_share_batches_and_stay_apart(shelf: ModelShelf) -> None:
    model = shelf.get("tiny", lambda _: None)
    songs = [song(1.9, seed=seed).mix for seed in range(3)]
    plans = [plan_for(model, len(audio), 3) for audio in songs]
    alone = [separate(model, plan, audio) for plan, audio in zip(plans, songs, strict=True)]
    together = runner(batch=4)
    pairs = [opened(model, plan, audio, 0) for plan, audio in zip(plans, songs, strict=True)]
    for _, ticket in pairs:
        together.submit(ticket)
    steps = 0
    while together.step():
        steps += 1
    # Three whole windows each, but for the last one, which the songs' ends cut off alike.
    assert steps < sum(len(ticket.runs) for _, ticket in pairs)
    for expected, pair in zip(alone, pairs, strict=True):
        np.testing.assert_allclose(expected.sums, finished(*pair).sums, atol=2e-6)


@pytest.mark.parametrize("name", ["tiny", "hybrid", "timely", "dsp"])
def test_silence_stays_silence(name: str, shelf: ModelShelf, blobs: BlockingBlobs) -> None:
    model = shelf.get(name, lambda _: None)
    made = gathered(model, plan_for(model, 40000, 1), silence(40000), blobs)
    assert all(np.abs(one).max() < 1e-6 for one in made.values())


def test_only_the_wanted_sources_are_stored(shelf: ModelShelf, blobs: BlockingBlobs) -> None:
    model = shelf.get("tiny", lambda _: None)
    audio = noise(50000)
    everything = gathered(model, plan_for(model, len(audio), 2), audio, blobs)
    plan = plan_for(model, len(audio), 2, "instrumental")
    assert plan.computed == ("vocals",)
    alone = gathered(model, plan, audio, blobs)
    assert list(alone) == ["instrumental"]
    np.testing.assert_allclose(everything["instrumental"], alone["instrumental"], atol=1e-6)


def test_nothing_clicks_where_chunks_meet(shelf: ModelShelf, blobs: BlockingBlobs) -> None:
    """A click is a sudden change of the signal's slope: none is larger at the borders."""
    model = shelf.get("tiny", lambda _: None)
    audio = song(4.3).mix
    plan = plan_for(model, len(audio), 1)
    made = gathered(model, plan, audio, blobs)
    for stem in plan.computed:
        bend = np.abs(np.diff(made[stem], n=2, axis=0)).max(axis=1)
        borders = [chunk * plan.chunk_frames for chunk in range(1, plan.chunks)]
        borders += [border + SEGMENT - STRIDE for border in borders]
        for border in borders:
            there = bend[border - 4 : border + 4].max()
            around = np.concatenate(
                (bend[max(0, border - 2000) : border - 4], bend[border + 4 : border + 2000])
            )
            assert there <= around.max()
            assert there <= 3 * np.quantile(around, 0.99)


def test_the_mean_that_was_measured_is_the_one_that_is_used() -> None:
    audio = song(0.5).mix
    track = track_of(audio)
    wav = torch.from_numpy(audio.T.copy()).mean(0)
    mean, scale = normalization(track)
    assert mean == pytest.approx(float(wav.mean()), abs=1e-7)
    assert scale == pytest.approx(float(wav.std()) + 1e-8, rel=1e-6)
    assert msgspec.structs.replace(track, std=0.0).std == 0.0
