"""What a request may say: whole tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.gateway.catalogue import KNOWN
from services.gateway.core import (
    MAX_STEMS,
    MAX_URL,
    Cursor,
    JobRequest,
    OptionsRequest,
    SourceRequest,
    admit_options,
    admit_source,
    admit_url,
    byte_range,
    current,
    decode_cursor,
    encode_cursor,
    parse_job_request,
    stems_of,
    whole_number,
)
from shared.contracts.audio import AudioFormat
from shared.contracts.job import Job, Phase
from shared.contracts.live import Activity, ModelOffer, Progress
from shared.contracts.request import Options, Source
from shared.contracts.snapshot import snapshot
from shared.errors import Code, TerminalError
from tests.support import jobs
from tests.support.jobs import JOB, LATER, NOW


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org/a.mp3?x=1#t=2",
        "HTTPS://EXAMPLE.ORG/",
        "http://127.0.0.1:8000/a",
        "http://[::1]:80/a",
        "http://user:pass@example.org/a",
        "https://bücher.example/ä.mp3",
        "https://example.org/" + "a" * (MAX_URL - 20),
    ],
)
def test_a_url_is_one(url: str) -> None:
    assert url == admit_url(url)
    assert url == admit_url(f"  {url}\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", Code.SOURCE_NOT_A_URL),
        ("   ", Code.SOURCE_NOT_A_URL),
        ("never gonna give you up", Code.SOURCE_NOT_A_URL),
        ("example.org", Code.SOURCE_NOT_A_URL),
        ("example.org:80/a", Code.SOURCE_NOT_A_URL),
        ("//example.org/a", Code.SOURCE_NOT_A_URL),
        ("/etc/passwd", Code.SOURCE_NOT_A_URL),
        ("http://", Code.SOURCE_NOT_A_URL),
        ("http:///a", Code.SOURCE_NOT_A_URL),
        ("http://:80/", Code.SOURCE_NOT_A_URL),
        ("http:example.org", Code.SOURCE_NOT_A_URL),
        ("http://[::1", Code.SOURCE_NOT_A_URL),
        ("http://example.org:port/", Code.SOURCE_NOT_A_URL),
        ("http://example.org:99999/", Code.SOURCE_NOT_A_URL),
        ("http://exam ple.org/", Code.SOURCE_NOT_A_URL),
        ("http://example.org/\x00", Code.SOURCE_NOT_A_URL),
        ("http://example.org/\r\nHost: x", Code.SOURCE_NOT_A_URL),
        ("javascript:alert(1)", Code.SOURCE_NOT_A_URL),
        ("data:audio/mp3;base64,AAAA", Code.SOURCE_NOT_A_URL),
        ("https://example.org/" + "a" * MAX_URL, Code.SOURCE_NOT_A_URL),
        ("file:///etc/passwd", Code.SOURCE_SCHEME),
        ("ftp://example.org/a", Code.SOURCE_SCHEME),
        ("s3://bucket/key", Code.SOURCE_SCHEME),
        ("ytsearch://song", Code.SOURCE_SCHEME),
    ],
)
def test_what_is_no_url_of_ours_is_told_apart(text: str, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_url(text)
    assert code == caught.value.code
    assert len(caught.value.detail) <= 200


@settings(max_examples=50)
@given(st.text())
def test_whatever_is_pasted_is_a_url_or_a_named_error(text: str) -> None:
    try:
        admitted = admit_url(text)
    except TerminalError as exc:
        refused = exc.code
    else:
        assert text.strip() == admitted
        return
    assert refused in {Code.SOURCE_NOT_A_URL, Code.SOURCE_SCHEME}


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        (SourceRequest(url="http://a.example/x"), Source(url="http://a.example/x")),
        (SourceRequest(upload="0123-ab_C"), Source(upload="0123-ab_C")),
    ],
)
def test_a_source_is_a_url_or_an_upload(asked: SourceRequest, source: Source) -> None:
    assert source == admit_source(asked)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (SourceRequest(), Code.REQUEST_MALFORMED),
        (SourceRequest(url="http://a.example", upload="u"), Code.REQUEST_MALFORMED),
        (SourceRequest(upload=""), Code.SOURCE_UPLOAD_MISSING),
        (SourceRequest(upload="../../etc"), Code.SOURCE_UPLOAD_MISSING),
        (SourceRequest(upload="a.json"), Code.SOURCE_UPLOAD_MISSING),
        (SourceRequest(url=""), Code.SOURCE_NOT_A_URL),
    ],
)
def test_any_other_source_is_refused(asked: SourceRequest, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_source(asked)
    assert code == caught.value.code


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (b'{"source":{"url":"x"}}', JobRequest(source=SourceRequest(url="x"))),
        (
            (
                b'{"source":{"upload":"u"},'
                b'"options":{"model":"dsp","stems":["vocals"],"format":"mp3"},'
                b'"run_at":"2026-05-04T05:02:01+02:00"}'
            ),
            JobRequest(
                source=SourceRequest(upload="u"),
                options=OptionsRequest(model="dsp", stems=["vocals"], format="mp3"),
                run_at=datetime(2026, 5, 4, 5, 2, 1, tzinfo=timezone(timedelta(hours=2))),
            ),
        ),
    ],
)
def test_a_request_is_read(body: bytes, request_: JobRequest) -> None:
    assert request_ == parse_job_request(body)


@pytest.mark.parametrize(
    ("body", "about"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "array"),
        (b"null", "null"),
        (b"{}", "source"),
        (b'{"source":"http://x"}', "source"),
        (b'{"source":{"url":7}}', "url"),
        (b'{"source":{"url":"x"},"option":{}}', "option"),
        (b'{"source":{"url":"x","file":"y"}}', "file"),
        (b'{"source":{"url":"x"},"options":{"modell":"y"}}', "modell"),
        (b'{"source":{"url":"x"},"options":{"stems":"vocals"}}', "stems"),
        (b'{"source":{"url":"x"},"run_at":"tomorrow"}', "run_at"),
        (b'{"source":{"url":"\xff"}}', ""),
        (b'{"source":' * 100_000, ""),
    ],
)
def test_a_request_that_can_t_be_read_says_where(body: bytes, about: str) -> None:
    with pytest.raises(TerminalError) as caught:
        parse_job_request(body)
    assert caught.value.code == Code.REQUEST_MALFORMED
    assert about in caught.value.detail


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (OptionsRequest(), Options()),
        (OptionsRequest(model="dsp"), Options(model="dsp")),
        (
            OptionsRequest(model="htdemucs", stems=["drums", "instrumental"], format="opus"),
            Options(model="htdemucs", stems=("drums", "instrumental"), format=AudioFormat.OPUS),
        ),
        # Some model makes it: which one is the separator's choice.
        (OptionsRequest(stems=["guitar"]), Options(stems=("guitar",))),
    ],
)
def test_options_that_some_model_can_fulfil(asked: OptionsRequest, options: Options) -> None:
    assert options == admit_options(asked, KNOWN, complete=True)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (OptionsRequest(model=""), Code.MODEL_UNKNOWN),
        (OptionsRequest(model="hf://evil/model"), Code.MODEL_UNKNOWN),
        (OptionsRequest(model="../htdemucs"), Code.MODEL_UNKNOWN),
        (OptionsRequest(format="exe"), Code.REQUEST_MALFORMED),
        (OptionsRequest(format="FLAC"), Code.REQUEST_MALFORMED),
        (OptionsRequest(stems=["vocals", "vocals"]), Code.REQUEST_MALFORMED),
        (
            OptionsRequest(stems=[str(number) for number in range(MAX_STEMS + 1)]),
            Code.REQUEST_MALFORMED,
        ),
        (OptionsRequest(stems=["kazoo"]), Code.MODEL_NO_SUCH_STEM),
        (OptionsRequest(model="htdemucs", stems=["guitar"]), Code.MODEL_NO_SUCH_STEM),
        (OptionsRequest(model="dsp", stems=["drums"]), Code.MODEL_NO_SUCH_STEM),
    ],
)
def test_options_that_no_model_can_fulfil(asked: OptionsRequest, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_options(asked, KNOWN, complete=True)
    assert code == caught.value.code


@pytest.mark.parametrize(
    ("model", "complete", "code"),
    [
        ("own", True, Code.MODEL_UNKNOWN),
        ("own", False, None),
        ("hf://evil/model", False, Code.MODEL_UNKNOWN),
        ("../own", False, Code.MODEL_UNKNOWN),
        ("unseen", True, None),
    ],
)
def test_what_can_t_be_refused_for_sure_is_the_separator_s_to_decide(
    model: str, *, complete: bool, code: Code | None
) -> None:
    offers = {**KNOWN, "unseen": ModelOffer(name="unseen", sources=(), ready=True)}
    asked = OptionsRequest(model=model, stems=["kazoo"])
    if code is None:
        options = Options(model=model, stems=("kazoo",))
        assert options == admit_options(asked, offers, complete=complete)
        return
    with pytest.raises(TerminalError) as caught:
        admit_options(asked, offers, complete=complete)
    assert code == caught.value.code


@pytest.mark.parametrize("name", ["htdemucs", "htdemucs_6s", "dsp"])
def test_every_stem_on_offer_can_be_asked_for(name: str) -> None:
    for stem in stems_of(KNOWN[name]):
        asked = OptionsRequest(model=name, stems=[stem])
        assert (stem,) == admit_options(asked, KNOWN, complete=True).stems


@pytest.mark.parametrize(
    ("sources", "stems"),
    [
        (("drums", "vocals"), ("drums", "vocals", "instrumental")),
        (("vocals", "instrumental"), ("vocals", "instrumental")),
        (("drums", "bass"), ("drums", "bass")),
    ],
)
def test_the_instrumental_can_be_had_wherever_there_are_vocals(
    sources: tuple[str, ...], stems: tuple[str, ...]
) -> None:
    assert stems == stems_of(ModelOffer(name="m", sources=sources, ready=True))


@given(st.text(st.characters(codec="utf-8", exclude_characters="|")), st.text("abc-_09"))
def test_a_cursor_comes_back_as_it_was(created_at: str, job_id: str) -> None:
    cursor = Cursor(created_at, job_id)
    token = encode_cursor(cursor)
    assert cursor == decode_cursor(token)
    assert token.replace("-", "").replace("_", "").isalnum() or not token


@pytest.mark.parametrize("text", ["", "x", "===", "ä", "fHx8", "YWJj", "_____w", "\ud800"])
def test_what_is_no_cursor_is_malformed(text: str) -> None:
    with pytest.raises(TerminalError) as caught:
        decode_cursor(text)
    assert caught.value.code == Code.REQUEST_MALFORMED


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("0200", 200), ("50", 50)])
def test_a_whole_number_is_one(text: str, number: int) -> None:
    assert number == whole_number("limit", text, 1, 200)


@pytest.mark.parametrize(
    "text", ["", "0", "201", "-1", "+1", "1.0", "1e2", "0x1", " 1", "1\n", "٣", "9" * 30, "one"]
)
def test_any_other_number_is_malformed_and_its_bounds_are_told(text: str) -> None:
    with pytest.raises(TerminalError, match="limit: a whole number from 1 to 200") as caught:
        whole_number("limit", text, 1, 200)
    assert caught.value.code == Code.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=9-", (9, 10)),
        ("bytes=5-999", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes= 1 - 2", (1, 3)),
        # What RFC 9110 lets a server ignore.
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes", None),
        ("bytes=", None),
        ("items=0-1", None),
        ("bytes=0-1x", None),
        ("bytes=--1", None),
        (f"bytes=0-{'9' * 30}", None),
    ],
)
def test_a_range_header_means(header: str | None, expected: tuple[int, int] | None) -> None:
    assert expected == byte_range(header, 10)


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_outside_the_file_can_t_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(TerminalError) as caught:
        byte_range(header, size)
    assert caught.value.code == Code.RANGE_NOT_SATISFIABLE


@given(st.binary(min_size=1, max_size=50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_slicing_is(data: bytes, first: int, last: int) -> None:
    if first >= len(data) and last >= first:
        with pytest.raises(TerminalError):
            byte_range(f"bytes={first}-{last}", len(data))
        return
    found = byte_range(f"bytes={first}-{last}", len(data))
    if found is None:
        assert last < first
    else:
        assert data[first : last + 1] == data[found[0] : found[1]]
        assert found[0] < found[1] <= len(data)


@given(st.text("bytes=-0123456789, \u0663"), st.integers(0, 1000))
def test_whatever_a_client_asks_a_range_lies_inside_the_file(header: str, size: int) -> None:
    try:
        found = byte_range(header, size)
    except TerminalError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


def told(percent: float) -> Progress:
    return Progress(
        job_id=JOB,
        phase=Phase.SEPARATION,
        progress=percent,
        activity=Activity.SEPARATING,
        eta=LATER,
    )


def test_a_snapshot_shows_what_ticks_have_told_and_never_less_than_it_says() -> None:
    stored = snapshot(jobs.separating(1))
    assert stored == current(stored, None)
    assert replace(stored, progress=63.5, eta=LATER) == current(stored, told(63.5))
    assert replace(stored, eta=LATER) == current(stored, told(12.0))


def test_an_eta_that_was_known_outlives_a_tick_without_one() -> None:
    stored = replace(snapshot(jobs.separating()), eta=NOW)
    assert current(stored, replace(told(40.0), eta=None)).eta == NOW


@pytest.mark.parametrize("job", [jobs.completed(), jobs.broken(), jobs.cancelled()])
def test_what_has_ended_is_not_moved_by_a_late_tick(job: Job) -> None:
    assert snapshot(job) == current(snapshot(job), told(99.0))


def test_a_snapshot_hides_what_only_the_scheduler_needs() -> None:
    shown = msgspec.to_builtins(snapshot(jobs.separating()))
    assert not {"units", "outbox", "attempt_floor", "traceparent"} & set(shown)
    assert {key: shown["separation"][key] for key in ("model", "chunks", "chunks_done")} == {
        "model": "htdemucs",
        "chunks": 3,
        "chunks_done": 0,
    }


def test_times_keep_their_zone() -> None:
    assert snapshot(jobs.pending()).created_at.tzinfo == UTC
