"""What a list may be asked for: whole tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.cursors import (
    LARGEST_PAGE,
    MAX_TERM,
    PAGE,
    SORTS,
    Cursor,
    Filters,
    decode_cursor,
    encode_cursor,
    searchable,
    wanted_batches,
    wanted_jobs,
)
from shared.errors import Code, TerminalError


def test_a_list_is_newest_first_and_of_all_unless_asked_otherwise() -> None:
    wanted = wanted_jobs({})
    assert (Filters(), SORTS["-created"], None, PAGE) == wanted[:4]
    assert wanted == wanted_jobs(dict.fromkeys(("status", "owner", "batch", "q", "cursor"), ""))


def test_everything_can_be_asked_for_at_once() -> None:
    query = {
        "status": "failed",
        "owner": "Zoë",
        "batch": "b1",
        "q": "  A  Song ",
        "sort": "updated",
        "limit": str(LARGEST_PAGE),
    }
    wanted = wanted_jobs(query)
    assert wanted.filters == Filters("failed", "Zoë", "b1", "a  song")
    assert (SORTS["updated"], LARGEST_PAGE) == (wanted.sort, wanted.limit)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status", "done"),
        ("status", "PENDING"),
        ("status", "'; drop table jobs; --"),
        ("sort", "id"),
        ("sort", "--created"),
        ("sort", "created desc"),
        ("owner", "x" * 65),
        ("owner", "a\nb"),
        ("owner", "\udc80"),
        ("batch", "a.b"),
        ("batch", "../b"),
        ("q", "x" * (MAX_TERM + 1)),
        ("q", "x" * 1_000_000),
        ("q", "a\x00b"),
        ("q", "a\nb"),
        ("q", "\udc80"),
        ("limit", "0"),
        ("limit", str(LARGEST_PAGE + 1)),
        ("limit", "1e1"),
        ("limit", "NaN"),
        ("cursor", "x"),
        ("cursor", "{}"),
        ("cursor", "ä"),
        ("cursor", "A" * 1_000_000),
    ],
)
def test_what_makes_no_sense_is_malformed_and_named(name: str, text: str) -> None:
    with pytest.raises(TerminalError, match=name) as caught:
        wanted_jobs({name: text})
    assert caught.value.code == Code.REQUEST_MALFORMED


def test_batches_have_no_filters() -> None:
    assert wanted_batches({"status": "failed"}).filters == Filters()
    with pytest.raises(TerminalError):
        wanted_batches({"limit": "0"})


@given(st.integers(0, (1 << 62) - 1), st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"))
def test_a_cursor_comes_back_as_it_was(at: int, key: str) -> None:
    token = encode_cursor(Cursor(at, key), "about")
    assert Cursor(at, key) == decode_cursor(token, "about")
    assert token.replace("-", "").replace("_", "").isalnum()


LISTS = (
    {},
    {"status": "failed"},
    {"owner": "me"},
    {"batch": "b"},
    {"q": "x"},
    *({"sort": name} for name in SORTS if name != "-created"),
)


@pytest.mark.parametrize("of", LISTS)
def test_a_cursor_is_good_for_its_own_list_only(of: dict[str, str]) -> None:
    token = encode_cursor(Cursor(1, "j1"), wanted_jobs(of).about)
    assert wanted_jobs({**of, "cursor": token, "limit": "7"}).after == Cursor(1, "j1")
    others = [wanted_jobs(other).about for other in LISTS if other != of]
    for about in (*others, wanted_batches({}).about):
        with pytest.raises(TerminalError, match="another list"):
            decode_cursor(token, about)


@pytest.mark.parametrize(
    "raw",
    [(-1, "j"), (1 << 62, "j"), (1 << 70, "j"), (1.5, "j"), (1, ""), (1, "a.b"), (1, "x" * 65)],
)
def test_a_cursor_that_was_made_up_is_malformed(raw: tuple[int, str]) -> None:
    token = encode_cursor(Cursor(*raw), "about")
    with pytest.raises(TerminalError, match="cursor") as caught:
        decode_cursor(token, "about")
    assert caught.value.code == Code.REQUEST_MALFORMED


@given(st.text(max_size=100))
def test_whatever_is_sent_for_a_cursor_is_one_or_malformed(text: str) -> None:
    try:
        decode_cursor(text, "about")
    except TerminalError as exc:
        assert exc.code == Code.REQUEST_MALFORMED  # noqa: PT017 - that is all it may be


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Straße", "STRASSE"),
        ("\uff26ull", "full"),
        ("Zoe\u0308", "zoë"),
        ("ΟΔΟΣ", "οδος"),
        ("a\x00b", "A B"),
    ],
)
def test_ways_of_writing_don_t_count(text: str, same: str) -> None:
    assert searchable(text) == searchable(same)
