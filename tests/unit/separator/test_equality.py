"""Scattered and gathered, the result is that of demucs's own apply_model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.pretrained import get_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.separator.spans import SpanHeader, pack_span

from services.separator.core import normalization, output_span, resolve_stems
from services.separator.gather import Gathering
from services.separator.inference import ChunkRun
from services.separator.models import LoadedModel, Member, ModelShelf
from shared.contracts.audio import FRAME_BYTES, Plan, Track
from tests.support.audio import Audio, interleaved, noise, silence, song, stored_track, track_of

if TYPE_CHECKING:
    from pathlib import Path

    from shared.blobs import BlockingBlobs

CPU = torch.device("cpu")
SEGMENT = 33075
STRIDE = 24806


def plan_for(model: LoadedModel, frames: int, per_chunk: int, *stems: str) -> Plan:
    resolved = resolve_stems(stems, model.sources, model.name)
    return Plan(
        model=model.name,
        digest=model.digest,
        sources=model.sources,
        computed=resolved.computed,
        stems=resolved.stems,
        frames=frames,
        segment=model.segment,
        stride=model.stride,
        windows_per_chunk=per_chunk,
    )


def expected_stems(module: object, audio: Audio) -> dict[str, Audio]:
    """What demucs.api.Separator makes of it, with shifts=0."""
    wav = torch.from_numpy(audio.T.copy())
    reference = wav.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    made = apply_model(module, ((wav - mean) / std)[None], shifts=0)[0] * std + mean
    sources: list[str] = module.sources  # type: ignore[attr-defined] # demucs ships no types
    return {source: one.T.numpy() for source, one in zip(sources, made, strict=True)}


def scattered(
    model: LoadedModel, plan: Plan, audio: Audio, blobs: BlockingBlobs, batch: int
) -> tuple[Track, tuple[str, ...]]:
    """Every chunk, the last one first, in the blob store."""
    track = stored_track(blobs, audio)
    data = interleaved(audio)
    keys = tuple(f"work/j/1/chunk-{n}" for n in range(plan.chunks))
    for chunk in reversed(range(plan.chunks)):
        run = ChunkRun(model=model, plan=plan, track=track, device=CPU, batch=batch)
        told: list[float] = []
        sums = run.weighted_sums(
            chunk, lambda a, b: data[a * FRAME_BYTES : b * FRAME_BYTES], told.append
        )
        assert told == sorted(told)
        assert told[-1] == 1.0
        span = output_span(plan, chunk)
        header = SpanHeader(
            digest=plan.digest, sources=plan.computed, start=span.start, frames=span.frames
        )
        blobs.put(keys[chunk], pack_span(header, sums))
    return track, keys


def gathered(
    model: LoadedModel, plan: Plan, audio: Audio, blobs: BlockingBlobs, batch: int = 1
) -> dict[str, Audio]:
    track, keys = scattered(model, plan, audio, blobs, batch)
    gathering = Gathering(blobs=blobs, track=track, plan=plan, chunk_keys=keys)
    blocks = list(gathering.blocks())
    return {stem: np.concatenate([one.stems[stem] for one in blocks]) for stem in plan.stems}


@pytest.mark.parametrize("name", ["tiny", "hybrid", "timely", "hot", "mixed", "duo", "dsp"])
def test_every_kind_of_model_gives_what_demucs_gives(
    name: str, shelf: ModelShelf, models_dir: Path, blobs: BlockingBlobs
) -> None:
    model = shelf.get(name, lambda _: None)
    seconds = 13.7 if name == "dsp" else 2.9
    audio = song(seconds).mix + np.float32(0.05)
    module = model.members[0].module if name == "dsp" else get_model(name, repo=models_dir)
    expected = expected_stems(module, audio)
    plan = plan_for(model, len(audio), 2)
    made = gathered(model, plan, audio, blobs, batch=3)
    for source in plan.computed:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)
    np.testing.assert_allclose(audio, made["vocals"] + made["instrumental"], atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 1000, STRIDE, STRIDE + 1, SEGMENT, SEGMENT + 1])
@pytest.mark.parametrize("name", ["tiny", "timely"])
def test_any_length_gives_what_demucs_gives(
    frames: int, name: str, shelf: ModelShelf, models_dir: Path, blobs: BlockingBlobs
) -> None:
    model = shelf.get(name, lambda _: None)
    audio = noise(frames)
    if frames == 1:
        # torch's deviation of one sample is nan, and with it all of demucs's output.
        assert all(np.isfinite(one).all() for one in made_of(model, audio, blobs).values())
        return
    expected = expected_stems(get_model(name, repo=models_dir), audio)
    made = made_of(model, audio, blobs)
    for source in model.sources:
        np.testing.assert_allclose(expected[source], made[source], atol=1e-5)


def made_of(model: LoadedModel, audio: Audio, blobs: BlockingBlobs) -> dict[str, Audio]:
    return gathered(model, plan_for(model, len(audio), 1), audio, blobs, batch=4)


class Edgy(torch.nn.Module):
    """Cheap, and depends on every sample it is given and where: wrong padding shows."""

    def __init__(self, segment: float, extra: int) -> None:
        super().__init__()
        self.sources = ["vocals", "rest"]
        self.samplerate, self.audio_channels, self.segment = 44100, 2, segment
        self.extra = extra
        self.scale = torch.nn.Parameter(torch.ones(1))

    def valid_length(self, frames: int) -> int:
        return frames + self.extra

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        place = torch.arange(mix.shape[-1]) / mix.shape[-1]
        voice = mix * place + mix.flip(-1) * 0.1 + mix.mean(dim=-1, keepdim=True)
        return torch.stack((voice, mix - voice), dim=1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    frames=st.integers(2, 4000),
    segment=st.integers(4, 900),
    extra=st.integers(0, 33),
    per_chunk=st.integers(1, 7),
    batch=st.integers(1, 5),
)
def test_any_chunking_and_batching_gives_the_same(
    frames: int, segment: int, extra: int, per_chunk: int, batch: int, blobs: BlockingBlobs
) -> None:
    module = Edgy((segment + 0.5) / 44100, extra)
    model = LoadedModel(
        name="edgy",
        digest="d",
        sources=("vocals", "rest"),
        segment=segment,
        stride=int(0.75 * segment),
        members=(Member(module, (1.0, 1.0)),),
    )
    audio = noise(frames, seed=frames)
    made = gathered(model, plan_for(model, frames, per_chunk), audio, blobs, batch)
    expected = expected_stems(module, audio)
    np.testing.assert_allclose(expected["vocals"], made["vocals"], atol=2e-6)


@pytest.mark.parametrize("name", ["tiny", "hybrid", "timely", "dsp"])
def test_silence_stays_silence(name: str, shelf: ModelShelf, blobs: BlockingBlobs) -> None:
    model = shelf.get(name, lambda _: None)
    made = gathered(model, plan_for(model, 40000, 1), silence(40000), blobs)
    assert all(np.abs(one).max() < 1e-6 for one in made.values())


def test_a_bag_runs_only_the_members_that_are_needed(shelf: ModelShelf) -> None:
    model = shelf.get("hot", lambda _: None)
    assert model.members_for(("drums",)) == model.members[:1]
    assert model.members_for(("vocals", "bass")) == model.members[1:]
    assert model.members_for(("vocals", "drums")) == model.members


def test_only_the_wanted_sources_are_stored(shelf: ModelShelf, blobs: BlockingBlobs) -> None:
    model = shelf.get("tiny", lambda _: None)
    audio = noise(50000)
    everything = gathered(model, plan_for(model, len(audio), 2), audio, blobs)
    plan = plan_for(model, len(audio), 2, "instrumental")
    assert plan.computed == ("vocals",)
    alone = gathered(model, plan, audio, blobs)
    assert list(alone) == ["instrumental"]
    np.testing.assert_allclose(everything["instrumental"], alone["instrumental"], atol=1e-7)


def test_too_large_a_batch_is_halved(shelf: ModelShelf) -> None:
    model = shelf.get("tiny", lambda _: None)
    given_windows: list[int] = []

    class Narrow(torch.nn.Module):
        def forward(self, mix: torch.Tensor) -> torch.Tensor:
            given_windows.append(len(mix))
            if len(mix) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return torch.zeros(1, 4, 2, mix.shape[-1])

    narrow = model._replace(members=(Member(Narrow(), (1.0,) * 4),))
    audio = noise(4 * STRIDE)
    run = ChunkRun(
        model=narrow,
        plan=plan_for(model, len(audio), 4),
        track=track_of(audio),
        device=CPU,
        batch=4,
    )
    data = interleaved(audio)
    run.weighted_sums(0, lambda a, b: data[a * 8 : b * 8], lambda _: None)
    assert run.batch_windows == 1
    assert given_windows[:3] == [3, 1, 1] or given_windows[:3] == [4, 2, 1]


def test_the_mean_that_was_measured_is_the_one_that_is_used() -> None:
    audio = song(0.5).mix
    track = track_of(audio)
    wav = torch.from_numpy(audio.T.copy()).mean(0)
    mean, scale = normalization(track)
    assert mean == pytest.approx(float(wav.mean()), abs=1e-7)
    assert scale == pytest.approx(float(wav.std()) + 1e-8, rel=1e-6)
    assert msgspec.structs.replace(track, std=0.0).std == 0.0
