"""What is delivered: formats, tags, a choice of stems, and the model that was chosen."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest

from tests.acceptance.api import Api
from tests.acceptance.listening import hear
from tests.support.stack import running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.api import Json
    from tests.acceptance.conftest import Songs

#: Each format's codec, and how far a lossy one may be from what it was given (RMS).
FORMATS = {
    "flac": ("flac", 2.0**-22),
    "wav": ("pcm_s24le", 2.0**-22),
    "mp3": ("mp3float", 0.01),
    "opus": ("opus", 0.01),
    "m4a": ("aac", 0.01),
}
#: FFmpeg's decoder leaves the padding of AAC's last frame on; players heed the duration.  Opus
#: is at 48 kHz: there and back is a sample more.
SURPLUS = {"m4a": 1024, "opus": 1}
TYPES = {
    "flac": "audio/flac",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
}


@pytest.mark.parametrize("name", FORMATS)
async def test_stems_come_in_the_format_asked_for(name: str, api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"), format=name)
    song = hear(songs.path("song.mp3")).samples
    codec, error = FORMATS[name]
    heard = {one["name"]: hear(await api.stem(job, one["name"])) for one in job["stems"]}
    assert {stem.codec for stem in heard.values()} <= {codec, name}
    for stem in heard.values():
        assert 0 <= len(stem.samples) - len(song) <= SURPLUS.get(name, 0)
    frames = min(len(song), *(len(stem.samples) for stem in heard.values()))
    together = sum(stem.samples[:frames].astype(np.float64) for stem in heard.values())
    assert np.sqrt(np.mean((together - song[:frames]) ** 2)) < error
    titles = {stem.tags.get("title") or stem.tags.get("TITLE") for stem in heard.values()}
    if name != "wav" or titles != {None}:
        assert titles == {"A song (vocals)", "A song (instrumental)"}
    path = f"/v1/jobs/{job['id']}/stems/vocals.{name}"
    assert (await api.ask("HEAD", path)).headers["Content-Type"] == TYPES[name]


async def test_only_the_stems_asked_for_are_made(api: Api, songs: Songs) -> None:
    await api.offered("tiny")
    job = await api.finished(songs.path("song.mp3"), model="tiny", stems=["drums", "instrumental"])
    assert [stem["name"] for stem in job["stems"]] == ["drums", "instrumental"]
    missing = await api.problem("GET", f"/v1/jobs/{job['id']}/stems/bass.flac")
    assert missing["code"] == "stem.not_found"


async def test_a_wrong_extension_is_no_stem(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"))
    missing = await api.problem("GET", f"/v1/jobs/{job['id']}/stems/vocals.mp3")
    assert missing["code"] == "stem.not_found"


async def test_peaks_cover_the_whole_song_for_every_stem(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"))
    answer = await api.ask("GET", f"/v1/jobs/{job['id']}/peaks.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json["stems"]) == {"mix", "vocals", "instrumental"}


async def test_models_are_offered_with_their_stems(api: Api) -> None:
    await api.offered("tiny")
    answer = (await api.ask("GET", "/v1/models")).json
    assert answer["default"] == "auto"
    models = {model["name"]: model for model in answer["models"]}
    assert models.keys() >= {"htdemucs", "htdemucs_ft", "htdemucs_6s", "dsp", "tiny"}
    assert models["tiny"]["stems"] == ["drums", "bass", "other", "vocals", "instrumental"]
    assert (models["tiny"]["origin"], models["tiny"]["ready"]) == ("local", True)
    assert models["dsp"]["stems"] == ["vocals", "instrumental"]
    assert not models["htdemucs"]["ready"]


@contextmanager
def silent_proxy() -> Iterator[str]:
    """The address of a proxy that takes connections and says nothing: a network gone dead."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        host, port = server.getsockname()[:2]
        yield f"http://{host}:{port}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def seconds_between(job: Json, first: str, second: str) -> float:
    """Seconds from one note in a job's timeline to another."""
    notes = {moment["note"]: datetime.fromisoformat(moment["at"]) for moment in job["timeline"]}
    return (notes[second] - notes[first]).total_seconds()


@pytest.mark.promise
async def test_auto_takes_dsp_within_five_seconds_where_the_network_is_dead(
    tmp_path: Path, songs: Songs
) -> None:
    with silent_proxy() as proxy:
        settings = {"HF_HUB_OFFLINE": "0", "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
        with running_stack(tmp_path / "data", settings=settings) as stack:
            async with aiohttp.ClientSession() as session:
                api = Api(session, stack.url)
                # The engine's own start is not the choice: let it be warm.
                await api.finished(songs.path("song.mp3"))
                job = await api.finished(songs.path("song.mp3"), model="auto")
                refused = await api.submit(songs.path("song.mp3"), model="htdemucs_6s")
                failing = await api.until(refused["id"], lambda event: said_why(event.data))
    assert job["options"]["model"] == "auto"
    assert job["separation"]["model"] == "dsp"
    assert seconds_between(job, "downloaded", "model dsp") < 5
    assert "weights can't be had" in failing.data["timeline"][-1]["note"]


def said_why(job: Json) -> bool:
    return "weights" in str(job.get("timeline"))


@pytest.mark.promise
async def test_auto_takes_dsp_where_there_is_no_network(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"), model="auto")
    assert job["separation"]["model"] == "dsp"
    assert seconds_between(job, "downloaded", "model dsp") < 5
