"""Stems over HTTP: whole, by range, and only when they are not known already."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import aiohttp
import pytest

from tests.acceptance.api import problem_of
from tests.support import media

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.api import Answer, Api
    from tests.acceptance.conftest import Songs
    from tests.support.stack import RunningStack


class Stem:
    """A finished stem and its bytes."""

    def __init__(self, api: Api, path: str, whole: Answer) -> None:
        self._api = api
        self._path = path
        self.bytes = whole.body
        self.tag = whole.headers["ETag"]

    async def ask(self, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._api.ask(method, self._path, headers=named)


@pytest.fixture
async def stem(api: Api, songs: Songs) -> Stem:
    job = await api.finished(songs.path("song.mp3"))
    path = f"/v1/jobs/{job['id']}/stems/vocals.flac"
    return Stem(api, path, await api.ask("GET", path))


async def test_a_stem_is_served_whole_by_range_and_by_condition(stem: Stem) -> None:
    """One job, many questions: each costs a millisecond, the job a second."""
    size = len(stem.bytes)
    assert stem.bytes.startswith(b"fLaC")

    head = await stem.ask("HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))
    assert head.headers["Accept-Ranges"] == "bytes"

    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-10", size - 10, size),
        (f"bytes=5-{size * 2}", 5, size),
        (f"bytes=-{size * 2}", 0, size),
    ):
        part = await stem.ask(Range=asked)
        assert part.status == 206, asked
        assert part.body == stem.bytes[start:end], asked
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"

    for asked in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=a-b", ""):
        whole = await stem.ask(Range=asked)
        assert (whole.status, whole.body) == (200, stem.bytes), asked

    for asked in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        outside = await stem.ask(Range=asked)
        assert problem_of(outside)["code"] == "stem.range_not_satisfiable", asked
        assert outside.status == 416

    for tag, status in ((stem.tag, 206), ('"stale"', 200), ("Sun, 22 Nov 2026 03:00:00 GMT", 200)):
        assert (await stem.ask(Range="bytes=0-9", If_Range=tag)).status == status, tag

    for tag in (stem.tag, f"W/{stem.tag}", f'"other", {stem.tag}'):
        known = await stem.ask(If_None_Match=tag)
        assert (known.status, known.body) == (304, b""), tag
    assert (await stem.ask(If_None_Match='"stale"')).status == 200


async def test_a_416_tells_the_length(stem: Stem) -> None:
    outside = await stem.ask(Range="bytes=99999999999-")
    assert outside.headers["Content-Range"] == f"bytes */{len(stem.bytes)}"


def _safe(headers: Mapping[str, str]) -> bool:
    policy = headers.get("Content-Security-Policy", "")
    return "default-src 'none'" in policy and headers["X-Content-Type-Options"] == "nosniff"


async def test_every_answer_keeps_the_browser_on_the_safe_side(api: Api) -> None:
    for path in ("/", "/v1/jobs", "/v1/jobs/nobody", "/nowhere", "/health", "/v1/models"):
        assert _safe((await api.ask("GET", path)).headers), path


async def test_a_form_with_a_file_is_an_upload(api: Api, songs: Songs) -> None:
    with aiohttp.MultipartWriter("form-data") as form:
        part = form.append(songs.path("song.mp3").read_bytes())
        part.set_content_disposition(
            "form-data", quote_fields=False, name="file", filename="My song.mp3"
        )
        answer = await api.ask("POST", "/v1/uploads", data=form)
    assert answer.status == 201
    assert answer.json["filename"] == "My song.mp3"
    assert answer.json["bytes"] == songs.path("song.mp3").stat().st_size


async def test_everything_comes_in_one_zip(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"), format="wav16")
    path = f"/v1/jobs/{job['id']}/stems.zip"
    answer = await api.ask("GET", path)
    assert answer.headers["Content-Type"] == "application/zip"
    assert ".zip" in answer.headers["Content-Disposition"]
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["vocals.wav", "instrumental.wav", "info.json"]
        for one in job["stems"]:
            assert archive.read(f"{one['name']}.wav") == await api.stem(job, one["name"])
        info = json.loads(archive.read("info.json"))
    assert (info["model"], info["precision"], info["shifts"]) == ("dsp", "exact", 0)
    assert [one["loudness"] for one in info["stems"]] == [one["loudness"] for one in job["stems"]]
    assert info["loudness"] == job["loudness"]
    head = await api.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


async def test_a_songs_picture_is_in_its_stems_and_served_and_in_the_zip(
    api: Api, tmp_path: Path
) -> None:
    art = media.picture("png", width=300, height=300)
    song = media.write_covered(tmp_path / "covered.mp3", media.song(3), art, codec="png")
    job = await api.finished(song, format="mp3", reuse=True)
    cover = job["metadata"]["cover"]
    assert (cover["picture"], cover["bytes"], cover["width"]) == ("png", len(art), 300)
    assert media.attached_pictures(BytesIO(await api.stem(job, "vocals"))) == [art]
    served = await api.ask("GET", f"/v1/jobs/{job['id']}/cover")
    assert (served.status, served.body) == (200, art)
    assert served.headers["Content-Type"] == "image/png"
    assert served.headers["X-Content-Type-Options"] == "nosniff"
    known = {"If-None-Match": served.headers["ETag"]}
    assert (await api.ask("GET", f"/v1/jobs/{job['id']}/cover", headers=known)).status == 304
    with ZipFile(BytesIO((await api.ask("GET", f"/v1/jobs/{job['id']}/stems.zip")).body)) as zipped:
        assert zipped.read("cover.png") == art
    # The same file again is answered from what there is, with its picture.
    again = await api.finished(song, format="mp3", reuse=True)
    assert (again["result"], again["metadata"]["cover"]) == (job["result"], cover)


async def test_a_song_without_a_picture_says_so(api: Api, songs: Songs) -> None:
    job = await api.finished(songs.path("song.mp3"))
    assert "cover" not in job["metadata"] or job["metadata"]["cover"] is None
    missing = await api.problem("GET", f"/v1/jobs/{job['id']}/cover")
    assert (missing["status"], missing["code"]) == (404, "cover.not_found")


@pytest.mark.parametrize("name", ["stems.zip", "stems/instrumental"])
@pytest.mark.parametrize(("kind", "left"), [("wav", b"cut off"), ("wav", b""), ("flac", b"")])
async def test_a_stem_that_is_not_whole_is_not_delivered(
    kind: str, left: bytes, name: str, api: Api, songs: Songs, stack: RunningStack
) -> None:
    job = await api.finished(songs.path("song.mp3"), format=kind)
    name = name if name.endswith("zip") else f"{name}.{kind}"
    stem = stack.data / "blobs" / "results" / job["result"] / f"instrumental.{kind}"
    path = f"/v1/jobs/{job['id']}/{name}"
    stem.write_bytes(left)
    assert (await api.problem("GET", path))["code"] == "blob.corrupt"
    stem.unlink()
    assert (await api.problem("GET", path))["code"] == "blob.missing"
    assert (await api.ask("HEAD", path)).status == (await api.ask("GET", path)).status
    vocals = await api.ask("GET", f"/v1/jobs/{job['id']}/stems/vocals.{kind}")
    assert vocals.status == 200
    # A completed job can't be retried: its song is made again.
    again = await api.finished(songs.path("song.mp3"), format=kind)
    assert (await api.ask("GET", f"/v1/jobs/{again['id']}/{name}")).status == 200


@pytest.mark.parametrize("state", ["unknown", "unfinished"])
async def test_there_is_no_zip_of_what_is_not_done(api: Api, songs: Songs, state: str) -> None:
    if state == "unknown":
        problem = await api.problem("GET", "/v1/jobs/nobody/stems.zip")
        assert problem["code"] == "job.not_found"
        return
    order = {"source": {"url": songs.url("song.mp3")}, "run_at": "2099-01-01T00:00:00Z"}
    job = (await api.ask("POST", "/v1/jobs", json=order)).json
    problem = await api.problem("GET", f"/v1/jobs/{job['id']}/stems.zip")
    assert problem["code"] == "stem.not_found"
    await api.order(job["id"], "cancel")
