"""Batches: sent, followed, saved, and what was skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.cli.answers import BatchPage, JobPage
from shared.contracts.audio import Metadata, StemFile
from shared.contracts.batch import BatchStatus, Skipped
from shared.contracts.job import Status
from shared.contracts.problem import Problem
from shared.errors import Code, TerminalError
from tests.unit.cli.played import batch, job, refuses, says, streams

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.played import Gateway

URL = "https://example.org/a.mp3"
STEMS = (StemFile(name="vocals", bytes=3, peak=0.5),)
DONE = [
    job("b1-0", Status.COMPLETED, batch="b1", stems=STEMS, metadata=Metadata(title="AC/DC")),
    job("b1-1", Status.COMPLETED, batch="b1", stems=STEMS, metadata=Metadata(title="Two")),
]
WAITING = [job("b1-0", batch="b1"), job("b1-1", batch="b1")]
ENDED = batch(state="completed", progress=100.0, counts={"completed": 2})


def plays(gateway: Gateway, *events: tuple[str, object]) -> None:
    """A gateway that takes a batch of two and tells these events of it."""
    gateway.on("POST", "/v1/batches", says(batch(), 201))
    gateway.on("GET", "/v1/batches/b1", says(batch()))
    gateway.on("GET", "/v1/jobs", says(JobPage(WAITING, 41)), says(JobPage(DONE, 44)))
    gateway.on("GET", "/v1/events", streams(*events))
    for one in DONE:
        gateway.on("GET", f"/v1/jobs/{one.id}/stems/vocals.flac", says()._replace(body=b"abc"))


def test_a_batch_is_sent_followed_and_saved(gateway: Gateway, tmp_path: Path) -> None:
    plays(gateway, ("job", DONE[0]), ("batch", batch("other")), ("batch", ENDED))
    song, listed = tmp_path / "song.mp3", tmp_path / "list.txt"
    song.write_bytes(b"\x00")
    listed.write_text(URL)
    gateway.on("POST", "/v1/uploads", says({"upload": "u1"}, 201))
    said = gateway.run(
        *("batch", str(listed), str(song), "--out", str(tmp_path / "out"), "--owner", "ann"),
        *("--priority", "low", "--json"),
    )
    assert said.code == 0, said.err
    (asked,) = gateway.requests("POST", "/v1/batches")
    assert asked.json == {
        "urls": [URL],
        "uploads": ["u1"],
        "options": {"model": "auto", "stems": [], "format": "flac"},
        "owner": "ann",
        "priority": "low",
    }
    assert asked.headers["Idempotency-Key"]
    assert gateway.requests("GET", "/v1/events")[0].headers["Last-Event-ID"] == "41"
    saved = [tmp_path / "out/001 AC_DC/vocals.flac", tmp_path / "out/002 Two/vocals.flac"]
    assert [path.read_bytes() for path in saved] == [b"abc", b"abc"]
    assert said.records[-1]["state"] == "completed"
    assert "2 of 2 done" in said.err


def test_what_was_skipped_is_said_and_why(gateway: Gateway, tmp_path: Path) -> None:
    skipped = (
        Skipped(entry="ftp://a", problem=Problem.of(TerminalError(Code.SOURCE_SCHEME))),
        Skipped(entry="u1", problem=Problem.of(TerminalError(Code.SOURCE_UPLOAD_MISSING))),
    )
    song = tmp_path / "song.mp3"
    song.write_bytes(b"\x00")
    plays(gateway, ("batch", batch(state="completed", skipped=skipped)))
    gateway.on("POST", "/v1/uploads", says({"upload": "u1"}, 201))
    said = gateway.run("batch", "ftp://a", str(song))
    assert said.code == 1
    assert "skipped ftp://a: Only http and https URLs can be fetched" in said.err
    assert f"skipped {song}: " in said.err


def test_a_list_may_come_on_standard_input_and_nobody_need_stay(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/batches", says({"id": "b1"}, 202))
    said = gateway.run("batch", "-", "--detach", stdin=f"# two\n{URL}\n{URL}\n")
    assert (said.code, said.out) == (0, "b1\n")
    assert gateway.asked[0].json["urls"] == [URL, URL]


def test_a_playlist_is_sent_as_one(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/batches", says(batch(), 201))
    assert gateway.run("batch", "--playlist", URL, "--detach").code == 0
    assert gateway.asked[0].json["playlist"] == URL
    assert "urls" not in gateway.asked[0].json


def test_a_playlist_that_can_not_be_read_says_why(gateway: Gateway) -> None:
    error = Problem.of(TerminalError(Code.SOURCE_UNAVAILABLE))
    plays(gateway, ("batch", batch(status=BatchStatus.FAILED, state="failed", error=error)))
    said = gateway.run("batch", "--playlist", URL)
    assert said.code == 1
    assert error.title in said.err
    assert error.hint in said.err


def test_too_many_songs_are_refused_before_they_are_uploaded(gateway: Gateway) -> None:
    said = gateway.run("batch", "-", stdin=f"{URL}\n" * 501)
    assert said.code == 2
    assert "501" in said.err
    assert gateway.asked == []


def test_a_batch_is_watched_even_if_its_end_came_while_nobody_listened(gateway: Gateway) -> None:
    gateway.on("GET", "/v1/batches/b1", *[says(batch())] * 3, says(ENDED))
    gateway.on("GET", "/v1/jobs", says(JobPage(WAITING, 41)))
    gateway.on(
        "GET",
        "/v1/events",
        streams(("job", job("else")), ("progress", progress("else")), ("gone", {"id": "b1-1"})),
        streams(),
    )
    said = gateway.run("watch", "b1", "--json")
    assert said.code == 0
    heard = [(record["event"], record["data"]["id"]) for record in said.records]
    assert heard == [
        ("job", "b1-0"),
        ("job", "b1-1"),
        ("batch", "b1"),
        ("gone", "b1-1"),
        ("batch", "b1"),
    ]


def progress(name: str) -> dict[str, object]:
    return {"job_id": name, "phase": "download", "progress": 1.0, "activity": "fetching"}


def test_a_batch_may_be_cancelled_and_shown_by_its_id(gateway: Gateway) -> None:
    plays(gateway)
    gateway.on("POST", "/v1/batches/b1/cancel", says(batch()))
    gateway.on("GET", "/v1/batches/b1", says(batch(state="cancelled", title="My list")))
    assert gateway.run("cancel", "b1").out == "b1 cancelled\n"
    out = gateway.run("show", "b1").out
    assert "My list" in out
    assert "b1-1" in out


def test_an_id_that_is_nobody_s_is_said_to_be_no_job_s(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/batches/x/cancel", refuses(Code.BATCH_NOT_FOUND, 404))
    said = gateway.run("cancel", "x")
    assert said.code == 1
    assert "There is no such job" in said.err


def test_batches_are_listed(gateway: Gateway) -> None:
    gateway.on("GET", "/v1/batches", says(BatchPage([batch(), ENDED])))
    rows = gateway.run("batches", "--limit", "2").out.splitlines()
    assert gateway.asked[0].query == {"limit": "2"}
    assert "processing" in rows[1]
    assert "2 of 2 done" in rows[2]
    assert len(gateway.run("batches", "--json").records) == 2


def test_stems_are_saved_later(gateway: Gateway, tmp_path: Path) -> None:
    plays(gateway)
    gateway.on("GET", "/v1/jobs/b1-0", says(DONE[0]))
    gateway.on("GET", "/v1/jobs/w", says(job("w")))
    out = tmp_path / "one"
    assert gateway.run("save", "b1-0", "--out", str(out)).out == f"{out / 'vocals.flac'}\n"
    gateway.on("GET", "/v1/jobs", says(JobPage(DONE)))
    assert gateway.run("save", "b1", "--out", str(tmp_path / "all")).code == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"001 AC_DC", "002 Two"}
    said = gateway.run("save", "w", "--out", str(tmp_path / "none"))
    assert said.code == 1
    assert "pending" in said.err
