"""Through the whole stack the stems are demucs's own, and nothing tells where chunks met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.pretrained import get_model

from tests.acceptance.api import Api
from tests.acceptance.listening import hear
from tests.support import media
from tests.support.audio import song
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.audio import Audio

SOURCES = ("drums", "bass", "other", "vocals")
#: 24 bits, and the order in which single precision adds.
QUANTIZATION = 2.0**-23
#: Frames between the starts of two chunks of 4 windows, for each model.
CHUNK_STRIDE = {"tiny": 4 * int(0.75 * 33_075), "dsp": 4 * int(0.75 * 12 * 44_100)}


def expected_stems(models_dir: Path, audio: Audio) -> dict[str, Audio]:
    """What demucs.api.Separator makes of it, with shifts=0."""
    module = get_model("tiny", repo=models_dir)
    wav = torch.from_numpy(audio.T.copy())
    reference = wav.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    made = apply_model(module, ((wav - mean) / std)[None], shifts=0)[0] * std + mean
    return {source: one.T.numpy() for source, one in zip(SOURCES, made, strict=True)}


async def stems_of(api: Api, path: Path, **options: object) -> dict[str, Audio]:
    await api.offered("tiny")
    job = await api.finished(path, **options)
    return {one["name"]: hear(await api.stem(job, one["name"])).samples for one in job["stems"]}


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
async def test_a_local_model_gives_what_demucs_gives(
    audio_format: str, api: Api, models_dir: Path, tmp_path: Path
) -> None:
    mix = song(11.3).mix * np.float32(0.5)
    path = media.write_float_wav(tmp_path / "song.wav", mix.T)
    expected = expected_stems(models_dir, mix)
    made = await stems_of(api, path, model="tiny", format=audio_format)
    assert made.keys() == {*SOURCES, "instrumental"}
    for source in SOURCES:
        np.testing.assert_allclose(made[source], expected[source], atol=1e-5 + QUANTIZATION)
    np.testing.assert_allclose(
        made["instrumental"], mix - expected["vocals"], atol=1e-5 + QUANTIZATION
    )


async def test_chunk_size_and_the_number_of_windows_at_once_change_nothing(
    api: Api, models_dir: Path, tmp_path: Path
) -> None:
    path = media.write_float_wav(tmp_path / "song.wav", song(8).mix.T)
    whole = await stems_of(api, path, model="tiny", format="wav")
    settings = {"STEMBUS_WINDOWS_PER_CHUNK": "1", "STEMBUS_BATCH_WINDOWS": "3"}
    with running_stack(tmp_path / "data", models=models_dir, settings=settings) as stack:
        async with aiohttp.ClientSession() as session:
            parts = await stems_of(Api(session, stack.url), path, model="tiny", format="wav")
    assert parts.keys() == whole.keys()
    for name, samples in parts.items():
        np.testing.assert_allclose(samples, whole[name], atol=4 * QUANTIZATION)


@pytest.mark.parametrize(("model", "seconds"), [("tiny", 20), ("dsp", 80)])
async def test_there_are_no_clicks_where_chunks_meet(
    model: str, seconds: int, api: Api, tmp_path: Path
) -> None:
    mix = song(seconds).mix
    path = media.write_audio(tmp_path / "song.flac", mix.T)
    await api.offered(model)
    job = await api.finished(path, model=model, stems=["vocals"])
    assert job["separation"]["chunks"] > 1
    vocals = hear(await api.stem(job, "vocals")).samples
    jumps = np.abs(np.diff(vocals, axis=0)).max(axis=1)
    for border in range(CHUNK_STRIDE[model], len(mix), CHUNK_STRIDE[model]):
        around = jumps[border - 2000 : border + 2000]
        elsewhere = jumps[border - 24_000 : border - 4000]
        assert around.max() <= 1.5 * max(elsewhere.max(), jumps.mean()), border
