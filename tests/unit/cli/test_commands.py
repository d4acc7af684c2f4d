"""What the commands ask a gateway, and what they make of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from services.cli import patience
from services.cli.answers import Flow, JobPage, Quantiles, QueueFigures, SitePause, Stats
from shared.contracts.audio import Metadata
from shared.contracts.job import Moment, Phase, Status
from shared.contracts.problem import Problem
from shared.contracts.request import Priority
from shared.errors import Code, RetryableError, TerminalError
from tests.support.jobs import NOW
from tests.unit.cli.played import LOST, job, refuses, says, streams

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.played import Gateway

URL = "https://example.org/a.mp3"


def soon() -> datetime:
    """Ten minutes from now, as it is shown for half a minute."""
    return datetime.now(UTC) + timedelta(minutes=10, seconds=20)


def test_submit_says_how_to_compute_and_whether_to_begin_afresh(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", says(job("j7"), 201))
    said = gateway.run("submit", URL, "--precision", "fast", "--shifts", "2", "--fresh")
    assert said.code == 0
    (asked,) = gateway.asked
    assert asked.json["options"] == {
        "model": "auto",
        "stems": [],
        "format": "flac",
        "precision": "fast",
        "shifts": 2,
        "reuse": False,
    }


@pytest.mark.parametrize("wrong", [("--shifts", "11"), ("--precision", "half")])
def test_what_can_not_be_computed_is_wrong_usage(gateway: Gateway, wrong: tuple[str, str]) -> None:
    assert gateway.run("submit", URL, *wrong).code == 2
    assert gateway.asked == []


def test_submit_says_all_terms_and_prints_the_id(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", says(job("j7"), 201))
    said = gateway.run(
        *("submit", URL, "--priority", "high", "--owner", "ann", "--stems", "vocals, drums"),
        *("--run-at", "2026-12-24T18:00Z", "--deadline", "2026-12-25T18:00+01:00"),
        *("--model", "dsp", "--format", "mp3"),
    )
    assert (said.code, said.out) == (0, "j7\n")
    (asked,) = gateway.asked
    assert asked.json == {
        "source": {"url": URL},
        "options": {"model": "dsp", "stems": ["vocals", "drums"], "format": "mp3"},
        "owner": "ann",
        "priority": "high",
        "run_at": "2026-12-24T18:00:00Z",
        "deadline": "2026-12-25T18:00:00+01:00",
    }
    assert len(asked.headers["Idempotency-Key"]) == 32


def test_each_song_has_a_key_of_its_own_and_an_own_id_needs_none(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", says({"id": "j1"}, 202))
    assert gateway.run("submit", URL, URL).out == "j1\nj1\n"
    assert gateway.run("submit", URL, "--id", "mine").code == 0
    first, second, third = gateway.asked
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert third.json["id"] == "mine"
    assert "Idempotency-Key" not in third.headers
    assert gateway.run("submit", URL, URL, "--id", "mine").code == 2


def test_a_submission_that_got_lost_comes_again_with_the_same_key(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", LOST, LOST, says(job("j7")))
    said = gateway.run("submit", URL)
    assert (said.code, said.out) == (0, "j7\n")
    keys = {asked.headers["Idempotency-Key"] for asked in gateway.asked}
    assert (len(gateway.asked), len(keys)) == (3, 1)


def test_a_command_that_got_lost_does_not_come_again(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs/j1/cancel", LOST)
    said = gateway.run("cancel", "j1")
    assert said.code == 3
    assert "broke" in said.err
    assert len(gateway.asked) == 1


def test_a_file_is_uploaded_first(gateway: Gateway, tmp_path: Path) -> None:
    song = tmp_path / "a song.mp3"
    song.write_bytes(b"\x00\x01")
    gateway.on("POST", "/v1/uploads", LOST, says({"upload": "u1"}, 201))
    gateway.on("POST", "/v1/jobs", says(job(), 201))
    assert gateway.run("submit", str(song), "--json").records == [{"id": "j1", "source": str(song)}]
    _, upload, asked = gateway.asked
    assert (upload.query, upload.body) == ({"filename": "a song.mp3"}, b"\x00\x01")
    assert asked.json["source"] == {"upload": "u1"}


def test_a_refused_song_does_not_keep_the_others_from_being_sent(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", refuses(Code.SOURCE_SCHEME, 400), says(job(), 201))
    said = gateway.run("submit", "ftp://a/b", URL)
    assert (said.code, said.out) == (1, "j1\n")
    assert "ftp://a/b: Only http and https" in said.err
    assert "upload it instead" in said.err


def test_a_busy_server_is_said_to_be_busy(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", refuses(Code.QUEUE_FULL, 429, Retry_After="40"))
    said = gateway.run("submit", URL, URL)
    assert said.code == 5
    assert "Too many jobs are waiting" in said.err
    assert "Try again in 40 s." in said.err
    assert len(gateway.asked) == 1


def test_who_waits_comes_again_with_the_same_key(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)
    gateway.on(
        "POST",
        "/v1/jobs",
        refuses(Code.QUEUE_FULL, 429, Retry_After="0"),
        refuses(Code.SERVICE_UNAVAILABLE, 503),
        says(job(), 201),
    )
    said = gateway.run("submit", URL, "--wait")
    assert (said.code, said.out) == (0, "j1\n")
    assert said.err.count("trying again") == 2
    assert len({asked.headers["Idempotency-Key"] for asked in gateway.asked}) == 1


def test_nobody_waits_for_ever(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs", refuses(Code.QUEUE_FULL, 429, Retry_After="999999"))
    said = gateway.run("submit", URL, "--wait")
    assert (said.code, len(gateway.asked)) == (5, 1)


def test_jobs_are_filtered_and_shown(gateway: Gateway) -> None:
    waiting = job("j1", position=3, eta=soon(), metadata=Metadata(title="One", artist="Ann"))
    hindered = job("j2", position=4, waits_for=Problem.of(RetryableError(Code.STORAGE_LOW)))
    held = job("j3", held=True)
    running = job("j4", Status.PROCESSING, phase=Phase.SEPARATION, progress=45.6, eta=soon())
    failed = job("j5", Status.FAILED, error=Problem.of(TerminalError(Code.SOURCE_LIVE)))
    gateway.on("GET", "/v1/jobs", says(JobPage([waiting, hindered, held, running, failed])))
    said = gateway.run(
        *("jobs", "--status", "pending", "--owner", "ann", "--search", "one"),
        *("--batch", "b1", "--sort", "updated", "--limit", "7"),
    )
    assert said.code == 0
    assert gateway.asked[0].query == {
        "status": "pending",
        "owner": "ann",
        "q": "one",
        "batch": "b1",
        "sort": "updated",
        "limit": "7",
    }
    rows = [" ".join(line.split()) for line in said.out.splitlines()]
    assert rows == [
        "JOB STATUS PROGRESS QUEUE ETA SONG",
        "j1 pending 0 % 3 10 min Ann - One",
        f"j2 pending 0 % 4 (storage.low) {URL}",
        f"j3 pending, held 0 % {URL}",
        f"j4 processing separation 45 % 10 min {URL}",
        f"j5 failed 0 % {URL} This is a live stream, which has no end",
    ]


def test_all_jobs_are_read_page_by_page(gateway: Gateway) -> None:
    gateway.on(
        "GET", "/v1/jobs", says(JobPage([job("j1")], 9, "more")), says(JobPage([job("j2")], 9))
    )
    said = gateway.run("jobs", "--all", "--json")
    assert [record["id"] for record in said.records] == ["j1", "j2"]
    assert [asked.query.get("cursor") for asked in gateway.asked] == [None, "more"]


def test_a_job_is_shown_whole(gateway: Gateway) -> None:
    one = job(
        "j1",
        Status.FAILED,
        phase=Phase.DOWNLOAD,
        priority=Priority.LOW,
        owner="ann",
        error=Problem.of(TerminalError(Code.SOURCE_REFUSED, "403 Forbidden")),
        timeline=(
            Moment(at=NOW, status=Status.PENDING),
            Moment(at=NOW + timedelta(seconds=7), status=Status.FAILED, note="403 Forbidden"),
        ),
    )
    gateway.on("GET", "/v1/jobs/j1", says(one))
    out = gateway.run("show", "j1").out
    for part in ("download 0 %", "low", "ann", URL):
        assert part in out
    problem = Problem.of(TerminalError(Code.SOURCE_REFUSED, "403 Forbidden"))
    for part in (problem.title, problem.detail, problem.hint):
        assert part in out
    assert "7 s    failed" in out
    assert gateway.run("show", "j1", "--json").records[0]["id"] == "j1"


def test_a_waiting_job_says_what_it_waits_for(gateway: Gateway) -> None:
    problem = Problem.of(RetryableError(Code.SOURCE_SITE_PAUSED))
    gateway.on("GET", "/v1/jobs/j1", says(job(waits_for=problem, position=1)))
    out = gateway.run("show", "j1").out
    assert f"waits for: {problem.title}" in out
    assert problem.hint in out


ORDERS = ["cancel", "retry", "hold", "release"]


@pytest.mark.parametrize("verb", ORDERS)
def test_an_order_goes_to_each_job_and_a_refused_one_stops_no_other(
    gateway: Gateway, verb: str
) -> None:
    gateway.on("POST", f"/v1/jobs/j1/{verb}", refuses(Code.JOB_WRONG_STATE, 409))
    gateway.on("POST", f"/v1/jobs/j2/{verb}", says(job("j2", held=True)))
    said = gateway.run(verb, "j1", "j2")
    assert (said.code, said.out) == (1, "j2 pending, held\n")
    assert "j1: The job's status does not allow that" in said.err


def test_an_order_that_is_not_carried_out_yet_shows_the_job_as_it_is(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs/j1/cancel", says({"id": "j1"}, 202))
    gateway.on("GET", "/v1/jobs/j1", says(job()))
    assert gateway.run("cancel", "j1", "--json").records[0]["status"] == "pending"


def test_the_first_named_goes_to_the_front_last(gateway: Gateway) -> None:
    for name in ("j1", "j2"):
        gateway.on("POST", f"/v1/jobs/{name}/front", says(job(name)))
    assert gateway.run("front", "j1", "j2").code == 0
    assert [asked.path for asked in gateway.asked] == ["/v1/jobs/j2/front", "/v1/jobs/j1/front"]


def test_a_priority_is_given(gateway: Gateway) -> None:
    gateway.on("POST", "/v1/jobs/j1/priority", says(job()))
    assert gateway.run("priority", "j1", "low").code == 0
    assert gateway.asked[0].json == {"priority": "low"}
    assert gateway.run("priority", "j1", "lowest").code == 2


def test_jobs_are_removed(gateway: Gateway) -> None:
    gateway.on("DELETE", "/v1/jobs/j1", says(status=204))
    gateway.on("DELETE", "/v1/jobs/j2", refuses(Code.JOB_WRONG_STATE, 409))
    said = gateway.run("rm", "j1", "j2")
    assert (said.code, said.out) == (1, "j1 removed\n")


def test_a_job_is_watched_until_it_has_ended(gateway: Gateway) -> None:
    gateway.on("GET", "/v1/jobs/j1", says(job()))
    gateway.on(
        "GET",
        "/v1/jobs/j1/events",
        streams(
            ("job", job(position=2)),
            ("queue", {"id": "j1", "position": 1}),
            ("job", job(follows="j0")),
            ("new", {}),
        ),
        streams(("job", job(status=Status.CANCELLED))),
    )
    said = gateway.run("watch", "j1")
    assert said.code == 4
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines == [
        f"j1 pending 0.0 % place 2 {URL}",
        "j1 place 1",
        f"j1 pending 0.0 % gets what comes of j0 {URL}",
        f"j1 cancelled 0.0 % {URL}",
    ]
    assert gateway.requests("GET", "/v1/jobs/j1/events")[1].headers["Last-Event-ID"] == "4"


def test_a_job_that_is_removed_while_it_is_watched_ends_the_watch(gateway: Gateway) -> None:
    gateway.on("GET", "/v1/jobs/j1", says(job(status=Status.FAILED)))
    gateway.on("GET", "/v1/jobs/j1/events", streams(("gone", {"id": "j1"})))
    said = gateway.run("watch", "j1", "--json")
    assert said.code == 1
    assert said.records == [{"event": "gone", "data": {"id": "j1"}}]


def test_stats_are_shown(gateway: Gateway) -> None:
    found = Stats(
        jobs={"pending": 12},
        queue=QueueFigures(waiting=12, held=1, rate_per_minute=3.25, stalled="storage.low"),
        last_hour=Flow(submitted=20, completed=15),
        failures={"source.live": 2, "internal": 5},
        run_seconds=Quantiles(p50=30.0, p90=100.0, p99=600.0, n=20),
        pauses=[SitePause(site="youtube", until=soon(), code="source.refused")],
    )
    gateway.on("GET", "/v1/stats", says(found))
    rows = [" ".join(line.split()) for line in gateway.run("stats").out.splitlines()]
    for row in (
        "waiting 12",
        "jobs a minute 3.2",
        "stands still storage.low",
        "hour 20 15 0 0",
        "ran 30 s 2 min 10 min 20",
        "none is there",
        "youtube 10 min source.refused",
    ):
        assert row in rows
    assert rows.index("internal 5") < rows.index("source.live 2")
    assert gateway.run("stats", "--json").records[0]["queue"]["waiting"] == 12


STRANGE = {"not json": b"<html>", "another kind of json": b"[1]", "deep": b"[" * 100_000}


@pytest.mark.parametrize("what", STRANGE)
def test_an_answer_that_nobody_understands_is_said_to_be_one(gateway: Gateway, what: str) -> None:
    gateway.on("GET", "/v1/jobs", says()._replace(body=STRANGE[what]))
    said = gateway.run("jobs")
    assert said.code == 3
    assert "no Stembus server" in said.err


def test_a_refusal_in_another_form_is_said_as_far_as_it_is_known(gateway: Gateway) -> None:
    gateway.on("GET", "/v1/stats", says(status=502)._replace(body=b"<html>"))
    said = gateway.run("stats")
    assert said.code == 1
    assert "502" in said.err


WRONG = [
    ("submit", URL, "--run-at", "soon"),
    ("submit", URL, "--priority", "highest"),
    ("jobs", "--sort", "title"),
    ("batch",),
    ("batch", URL, "--playlist", URL),
    ("batch", URL, "--detach", "--out", "stems"),
    ("batch", "nowhere.mp3"),
    ("cancel",),
]


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_told_before_anybody_is_asked(
    gateway: Gateway, words: tuple[str, ...]
) -> None:
    said = gateway.run(*words)
    assert said.code == 2
    assert said.err
    assert gateway.asked == []
