"""What a request's body may say: whole tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.requests import (
    MAX_BATCH_ID,
    MAX_OWNER,
    MAX_URL,
    BatchRequest,
    JobRequest,
    OptionsRequest,
    PriorityRequest,
    SourceRequest,
    admit_entries,
    admit_id,
    admit_key,
    admit_owner,
    admit_playlist,
    admit_source,
    admit_terms,
    admit_url,
    id_of_key,
    parse,
)
from shared.contracts.batch import MAX_ENTRIES, Entry, entry_id
from shared.contracts.request import Priority, Source, Terms
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError
from tests.support.jobs import LATER, NOW

HEADER = "X-Owner"
SONG = SourceRequest(url="http://a.example/x")


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
    assert request_ == parse(body, JobRequest)


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
        (b'{"source":{"url":"x"},"run_at":1e99}', "run_at"),
        (b'{"source":{"url":"x"},"deadline":NaN}', "malformed"),
        (b'{"source":{"url":"x"},"priority":"urgent"}', "priority"),
        (b'{"source":{"url":"x"},"priority":1}', "priority"),
        (b'{"source":{"url":"x"},"owner":["me"]}', "owner"),
        (b'{"source":{"url":"x"},"owner":"\\ud800"}', ""),
        (b'{"source":{"url":"x"},"id":7}', "id"),
        (b'{"source":{"url":"x"},"answer_by":null}', "answer_by"),
        (b'{"source":{"url":"\xff"}}', ""),
        (b'{"source":' * 100_000, ""),
    ],
)
def test_a_request_that_can_t_be_read_says_where(body: bytes, about: str) -> None:
    with pytest.raises(TerminalError) as caught:
        parse(body, JobRequest)
    assert caught.value.code == Code.REQUEST_MALFORMED
    assert about in caught.value.detail


@pytest.mark.parametrize("kind", [JobRequest, BatchRequest, PriorityRequest])
@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'"x"', b"null", b"NaN", b"[" * 100_000])
def test_a_body_that_is_no_object_is_malformed(kind: type, body: bytes) -> None:
    with pytest.raises(TerminalError) as caught:
        parse(body, kind)
    assert caught.value.code == Code.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("named", "header", "told", "owner"),
    [
        (None, "", [], ""),
        ("", "", [], ""),
        ("me", "", [], "me"),
        ("Zoë Müller", "", [], "Zoë Müller"),
        ("x" * MAX_OWNER, "", [], "x" * MAX_OWNER),
        (None, HEADER, ["me"], "me"),
        ("me", HEADER, ["me"], "me"),
        (None, HEADER, ["me", "me"], "me"),
    ],
)
def test_an_owner_is_named_or_told(
    named: str | None, header: str, told: list[str], owner: str
) -> None:
    assert owner == admit_owner(named, header, told)


@pytest.mark.parametrize(
    ("named", "header", "told", "code"),
    [
        ("x" * (MAX_OWNER + 1), "", [], Code.REQUEST_MALFORMED),
        ("a\nb", "", [], Code.REQUEST_MALFORMED),
        ("a\x00", "", [], Code.REQUEST_MALFORMED),
        ("\u202e", "", [], Code.REQUEST_MALFORMED),
        ("\udc80", "", [], Code.REQUEST_MALFORMED),
        (None, HEADER, [], Code.REQUEST_FORBIDDEN),
        (None, HEADER, [""], Code.REQUEST_FORBIDDEN),
        ("me", HEADER, [], Code.REQUEST_FORBIDDEN),
        ("me", HEADER, ["you"], Code.REQUEST_FORBIDDEN),
        ("", HEADER, ["you"], Code.REQUEST_FORBIDDEN),
        (None, HEADER, ["you", "me"], Code.REQUEST_FORBIDDEN),
        (None, HEADER, ["x" * 65], Code.REQUEST_MALFORMED),
    ],
)
def test_any_other_owner_is_refused(
    named: str | None, header: str, told: list[str], code: Code
) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_owner(named, header, told)
    assert code == caught.value.code


@pytest.mark.parametrize("key", ["a", "!", "~", '"quoted"', "x" * 255])
def test_a_key_is_one(key: str) -> None:
    assert key == admit_key([key])
    assert admit_key([]) is None


@pytest.mark.parametrize(
    "told", [[""], ["x" * 256], ["a b"], ["a\n"], ["ä"], ["a\x7f"], ["\udce4"], ["a", "a"]]
)
def test_any_other_key_is_malformed(told: list[str]) -> None:
    with pytest.raises(TerminalError, match="Idempotency-Key") as caught:
        admit_key(told)
    assert caught.value.code == Code.REQUEST_MALFORMED


@given(st.text(max_size=80), st.text(min_size=1, max_size=300))
def test_the_id_of_a_key_is_always_the_same_and_can_be_a_batch_s(owner: str, key: str) -> None:
    assert id_of_key(owner, key) == id_of_key(owner, key)
    assert TOKEN.match(entry_id(id_of_key(owner, key), MAX_ENTRIES - 1))
    assert id_of_key(owner, key) != id_of_key(owner + "x", key)


def test_the_id_of_a_key_never_changes() -> None:
    """A client that comes back after an upgrade gets the same job."""
    assert id_of_key("me", "abc") == "k6085a4abe83d5a7078a9a6d8"


@pytest.mark.parametrize("text", ["a", "A-b_9", "x" * 64])
def test_an_id_may_be_a_client_s_own(text: str) -> None:
    assert text == admit_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 65, "a.b", "*", ">", "a b", "a/b", "ä", "a\n", "../x", "\x00"]
)
def test_any_other_id_is_malformed(text: str) -> None:
    with pytest.raises(TerminalError, match="id: 1 to 64") as caught:
        admit_id(text)
    assert caught.value.code == Code.REQUEST_MALFORMED


def test_the_longest_id_of_a_batch_leaves_room_for_its_last_job_s() -> None:
    longest = "b" * MAX_BATCH_ID
    assert TOKEN.match(entry_id(admit_id(longest, MAX_BATCH_ID), MAX_ENTRIES - 1))
    with pytest.raises(TerminalError):
        admit_id(longest + "b", MAX_BATCH_ID)


EAST = timezone(timedelta(hours=2))
PAST = NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("asked", "terms"),
    [
        (JobRequest(source=SONG), Terms(owner="me")),
        (
            JobRequest(source=SONG, priority=Priority.LOW),
            Terms(owner="me", priority=Priority.LOW),
        ),
        (JobRequest(source=SONG, run_at=PAST), Terms(owner="me", run_at=PAST)),
        (
            JobRequest(source=SONG, run_at=NOW.astimezone(EAST), deadline=LATER.astimezone(EAST)),
            Terms(owner="me", run_at=NOW, deadline=LATER),
        ),
    ],
)
def test_terms_that_can_be_met(asked: JobRequest, terms: Terms) -> None:
    admitted = admit_terms(asked, "me", NOW, again=False)
    assert terms == admitted
    assert {moment.tzinfo for moment in (admitted.run_at, admitted.deadline) if moment} <= {UTC}


@pytest.mark.parametrize(
    ("asked", "about"),
    [
        (JobRequest(source=SONG, deadline=NOW), "deadline: it must be in the future"),
        (JobRequest(source=SONG, deadline=PAST), "deadline: it must be in the future"),
        (JobRequest(source=SONG, run_at=LATER, deadline=LATER), "after run_at"),
        (JobRequest(source=SONG, run_at=LATER.replace(tzinfo=None)), "run_at: give a time with"),
        (JobRequest(source=SONG, deadline=LATER.replace(tzinfo=None)), "deadline: give a time"),
        (
            JobRequest(source=SONG, run_at=datetime(1, 1, 1, tzinfo=EAST)),
            "run_at: this is no time",
        ),
    ],
)
def test_any_other_terms_are_malformed(asked: JobRequest, about: str) -> None:
    with pytest.raises(TerminalError, match=about) as caught:
        admit_terms(asked, "", NOW, again=False)
    assert caught.value.code == Code.REQUEST_MALFORMED


def test_what_comes_again_after_its_deadline_was_in_time_when_it_came_first() -> None:
    asked = JobRequest(source=SONG, deadline=PAST)
    assert admit_terms(asked, "", NOW, again=True) == Terms(deadline=PAST)


@pytest.mark.parametrize(
    ("asked", "playlist"),
    [
        (BatchRequest(playlist=" https://a.example/l "), "https://a.example/l"),
        (BatchRequest(urls=[]), None),
        (BatchRequest(urls=["x"] * MAX_ENTRIES), None),
        (BatchRequest(urls=["x"], uploads=["y"]), None),
    ],
)
def test_a_batch_is_a_playlist_or_songs(asked: BatchRequest, playlist: str | None) -> None:
    assert playlist == admit_playlist(asked)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (BatchRequest(), Code.REQUEST_MALFORMED),
        (BatchRequest(playlist="https://a.example", urls=[]), Code.REQUEST_MALFORMED),
        (BatchRequest(playlist="https://a.example", uploads=["u"]), Code.REQUEST_MALFORMED),
        (BatchRequest(playlist=""), Code.SOURCE_NOT_A_URL),
        (BatchRequest(playlist="ftp://a.example/l"), Code.SOURCE_SCHEME),
        (BatchRequest(urls=["x"] * (MAX_ENTRIES + 1)), Code.BATCH_TOO_LONG),
        (BatchRequest(urls=["x"] * MAX_ENTRIES, uploads=["y"]), Code.BATCH_TOO_LONG),
        (BatchRequest(uploads=["x"] * 1_000_000), Code.BATCH_TOO_LONG),
    ],
)
def test_any_other_batch_is_refused(asked: BatchRequest, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        admit_playlist(asked)
    assert code == caught.value.code


def test_what_can_t_be_taken_is_skipped_and_says_why() -> None:
    url = "https://a.example/1"
    asked = BatchRequest(
        urls=[url, "nope", url, "ftp://a.example/2", "h" * 3000], uploads=["u1", "u2", "../u"]
    )
    counted = Source(upload="u1", digest="d1", name="a.mp3")
    entries, skipped = admit_entries(asked, {"u1": counted})
    assert entries == (
        Entry(source=Source(url=url)),
        Entry(source=Source(url=url)),
        Entry(source=counted),
    )
    assert [(one.entry, one.problem.code) for one in skipped] == [
        ("nope", Code.SOURCE_NOT_A_URL),
        ("ftp://a.example/2", Code.SOURCE_SCHEME),
        ("h" * 200, Code.SOURCE_NOT_A_URL),
        ("u2", Code.SOURCE_UPLOAD_MISSING),
        ("../u", Code.SOURCE_UPLOAD_MISSING),
    ]


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        (BatchRequest(urls=[]), "0 were skipped"),
        (BatchRequest(urls=["nope"], uploads=["gone"]), "2 were skipped; the first: This is not"),
    ],
)
def test_a_batch_of_nothing_is_refused(asked: BatchRequest, detail: str) -> None:
    with pytest.raises(TerminalError, match=detail) as caught:
        admit_entries(asked, {})
    assert caught.value.code == Code.BATCH_EMPTY
