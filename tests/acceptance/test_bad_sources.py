"""Bad songs: each ends as a right result or as one failure that says what it is."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.acceptance.api import endings
from tests.acceptance.listening import hear
from tests.support import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.api import Api, Json
    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack


@pytest.fixture(autouse=True)
def _services_stay_up(stack: RunningStack) -> Iterator[None]:
    before = stack.pids()
    yield
    assert stack.pids() == before


def assert_failed(job: Json, code: str, *, retryable: bool = False) -> None:
    """The job failed, once, with a code and with words for a person."""
    assert job["status"] == "failed"
    assert endings(job) == ["failed"]
    error = job["error"]
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert error["title"]
    assert error["hint"]


#: Pages of the site, and what is wrong with each.
PAGES = {
    "/empty.html": "source.no_media",
    "/songs.html": "source.playlist",
    "/internal.html": "source.forbidden_address",
    "/endless.html": "source.too_large",
    "/live.m3u8": "source.live",
    "/status/404": "source.not_found",
    "/status/403": "source.refused",
    "/status/451": "source.unavailable",
    "/redirect?to=http://10.0.0.7/song.mp3": "source.forbidden_address",
    "/redirect?to=http://169.254.169.254/latest/": "source.forbidden_address",
    "/redirect?to=http://[::ffff:10.0.0.7]/a.mp3": "source.forbidden_address",
    "/redirect?to=file:///etc/passwd": "source.scheme",
    "/media/text.mp3": "source.not_audio",
    "/media/empty.mp3": "source.empty",
}


async def test_a_url_that_can_not_become_stems_fails_with_its_reason(
    api: Api, songs: Songs
) -> None:
    media.write_bytes(songs.path("text.mp3"), b"This is not a song.\n" * 1000)
    media.write_bytes(songs.path("empty.mp3"), b"")
    waiting = {page: await api.submit(songs.site.base + page) for page in PAGES}
    ended = await asyncio.gather(*(api.ended(job["id"]) for job in waiting.values()))
    codes = {page: (job["error"] or {}).get("code") for page, job in zip(PAGES, ended, strict=True)}
    assert codes == PAGES
    for job, code in zip(ended, PAGES.values(), strict=True):
        assert_failed(job, code)


async def test_a_private_address_is_not_asked(api: Api) -> None:
    for url in ("http://10.0.0.7/a.mp3", "http://192.168.1.1/"):
        assert_failed(await api.ended((await api.submit(url))["id"]), "source.forbidden_address")


async def test_an_unreachable_host_is_tried_again_and_others_go_first(
    api: Api, songs: Songs
) -> None:
    """What waits for its next attempt takes up no slot."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/song.mp3"
        waiting = [await api.submit(url) for url in (nobody, nobody, "http://nobody.invalid/a")]
        for job in waiting:
            await api.until(job["id"], lambda event: "trying again" in str(event.data))
        song = await api.finished(songs.url("song.mp3"))
        for job in waiting:
            ended = await api.ended(job["id"])
            assert_failed(ended, "source.unreachable", retryable=True)
            assert sum("trying again" in moment["note"] for moment in ended["timeline"]) == 3
            # It was done before any of them had given up.
            assert song["finished_at"] < ended["finished_at"]


async def test_a_text_file_by_the_name_of_a_song_is_not_audio(api: Api, tmp_path: Path) -> None:
    path = media.write_bytes(tmp_path / "song.mp3", b"Once upon a time.\n" * 500)
    assert_failed(await api.ended((await api.submit(path))["id"]), "source.not_audio")


async def test_a_playlist_by_the_name_of_a_song_is_not_followed(
    api: Api, songs: Songs, tmp_path: Path
) -> None:
    text = f"#EXTM3U\n#EXTINF:3,\n{songs.url('secret.mp3')}\n#EXT-X-ENDLIST\n"
    path = media.write_bytes(tmp_path / "song.mp3", text.encode())
    assert_failed(await api.ended((await api.submit(path))["id"]), "source.not_audio")
    assert "/media/secret.mp3" not in songs.site.asked


async def test_a_film_without_sound_says_so(api: Api, tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "silent.mp4", None)
    assert_failed(await api.ended((await api.submit(path))["id"]), "source.no_audio_stream")


#: Odd songs that must become stems: seconds, rate, channels, and how they are written.
ODD = {
    "a tenth of a second": (0.1, 44_100, 2),
    "mono": (2.0, 44_100, 1),
    "8 kHz": (2.0, 8_000, 1),
    "96 kHz": (2.0, 96_000, 2),
    "5.1": (2.0, 48_000, 6),
}


@pytest.mark.parametrize("what", ODD)
async def test_an_odd_song_becomes_stems_all_the_same(what: str, api: Api, tmp_path: Path) -> None:
    seconds, rate, channels = ODD[what]
    samples = media.song(seconds, rate=rate, channels=channels, level=0.2)
    codec, sample_format = ("pcm_s24le", "s32") if rate == 96_000 else ("pcm_s16le", "s16")
    path = media.write_audio(
        tmp_path / "odd.wav", samples, rate=rate, codec=codec, sample_format=sample_format
    )
    job = await api.finished(path)
    stems = [hear(await api.stem(job, one["name"])).samples for one in job["stems"]]
    frames = round(seconds * 44_100)
    assert [len(stem) for stem in stems] == [frames, frames]
    assert job["seconds"] == pytest.approx(seconds)
    mix = stems[0] + stems[1]
    # As loud as it came, whatever was done to its channels.
    loudness = float(np.sqrt(np.mean(samples**2)))
    assert np.sqrt(np.mean(mix**2)) == pytest.approx(loudness, rel=0.5)


@pytest.mark.parametrize("model", ["dsp", "tiny"])
async def test_silence_becomes_silent_stems(model: str, api: Api, tmp_path: Path) -> None:
    await api.offered(model)
    path = media.write_audio(tmp_path / "silence.flac", np.zeros((2, 88_200), np.float32))
    job = await api.finished(path, model=model)
    for stem in job["stems"]:
        samples = hear(await api.stem(job, stem["name"])).samples
        assert len(samples) == 88_200
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() < 1e-4


async def test_a_hostile_file_name_is_only_a_title(api: Api, songs: Songs) -> None:
    name = "../../etc/\x1b[31mpass\r\nX-Evil: 1\x00wd\u202egnp.mp3"
    path = media.write_audio(songs.path("untitled.mp3"), media.song(1))
    upload = await api.upload(path, name)
    order = {"source": {"upload": upload}, "options": {"model": "dsp"}}
    answer = await api.ask("POST", "/v1/jobs", json=order)
    job = await api.ended(answer.json["id"])
    assert job["status"] == "completed", job["error"]
    assert job["metadata"]["title"].isprintable()
    url = f"/v1/jobs/{job['id']}/stems/vocals.flac?download=1"
    headers = (await api.ask("GET", url)).headers
    assert "X-Evil" not in headers
    assert headers["Content-Disposition"].isprintable()
    assert "/" not in headers["Content-Disposition"].replace("UTF-8''", "")
    assert hear(await api.stem(job, "vocals")).tags
