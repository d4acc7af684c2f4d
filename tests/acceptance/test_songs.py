"""Every kind of song becomes stems that are as long as it and add up to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.acceptance.listening import hear
from tests.support import media

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.api import Api, Json
    from tests.acceptance.conftest import Songs
    from tests.support.audio import Audio

#: Two stems of 24 bits each add up to the song but for the rounding of both.
QUANTIZATION = 2.0**-23

TAGS = {"title": "Länge läbe", "artist": "Somebody"}


async def stems_of(api: Api, job: Json) -> dict[str, Audio]:
    return {one["name"]: hear(await api.stem(job, one["name"])).samples for one in job["stems"]}


async def assert_adds_up(api: Api, job: Json, song: Audio) -> None:
    """Every stem as long as the song to the sample; vocals + instrumental = the song."""
    stems = await stems_of(api, job)
    assert {name: len(samples) for name, samples in stems.items()} == dict.fromkeys(
        stems, len(song)
    )
    assert job["seconds"] == len(song) / 44_100
    together = stems["vocals"] + stems["instrumental"]
    np.testing.assert_allclose(together, song, atol=4 * QUANTIZATION)
    assert np.abs(stems["vocals"]).max() > 0
    assert np.abs(stems["instrumental"]).max() > 0


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.flac", "a.m4a", "a.wav"])
async def test_an_uploaded_song_becomes_stems_that_add_up_to_it(
    name: str, api: Api, tmp_path: Path
) -> None:
    rate = 48_000 if name == "a.opus" else 44_100
    path = media.write_audio(tmp_path / name, media.song(3.21, rate=rate), rate=rate, tags=TAGS)
    job = await api.finished(path)
    await assert_adds_up(api, job, hear(path).samples)
    if name != "a.wav":
        assert (job["metadata"]["title"], job["metadata"]["artist"]) == tuple(TAGS.values())
    assert job["separation"]["model"] == "dsp"
    assert job["progress"] == 100
    assert job["error"] is None


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
async def test_the_sound_of_a_film_becomes_stems(name: str, api: Api, tmp_path: Path) -> None:
    path = media.write_video(tmp_path / name, media.song(3))
    await assert_adds_up(api, await api.finished(path), hear(path).samples)


async def test_a_file_at_a_url_becomes_stems(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.url("song.mp3"))
    await assert_adds_up(api, job, hear(songs.path("song.mp3")).samples)
    assert job["metadata"]["extractor"] == "Generic"


async def test_a_page_with_one_song_on_it_becomes_stems(api: Api, songs: Songs) -> None:
    job = await api.finished(f"{songs.site.base}/song.html")
    await assert_adds_up(api, job, hear(songs.path("song.mp3")).samples)


async def test_a_film_at_a_url_becomes_stems(api: Api, songs: Songs) -> None:
    path = media.write_video(songs.path("film.mp4"), media.song(2))
    await assert_adds_up(api, await api.finished(songs.url("film.mp4")), hear(path).samples)


async def test_an_hls_stream_becomes_stems(api: Api, songs: Songs) -> None:
    folder = songs.path("hls")
    media.write_hls(folder, media.song(6))
    whole = b"".join(path.read_bytes() for path in sorted(folder.glob("*.ts")))
    job = await api.finished(songs.url("hls/playlist.m3u8"))
    await assert_adds_up(api, job, hear(whole).samples)


async def test_the_same_song_again_is_another_job_with_the_same_result(
    api: Api, songs: Songs
) -> None:
    first, second = [await api.finished(songs.path("song.mp3")) for _ in range(2)]
    assert first["id"] != second["id"]
    assert first["result"] == second["result"]
    assert await api.stem(first, "vocals") == await api.stem(second, "vocals")


async def test_many_songs_at_once_all_become_stems(api: Api, songs: Songs) -> None:
    waiting = [await api.submit(songs.url("song.mp3")) for _ in range(4)]
    done = [await api.ended(job["id"]) for job in waiting]
    assert [job["status"] for job in done] == ["completed"] * 4
