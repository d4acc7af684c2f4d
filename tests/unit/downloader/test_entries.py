"""What of a playlist is taken: nothing that a site says is believed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.downloader.addresses import parse_networks
from services.downloader.entries import (
    ENTRIES_BYTES,
    NAME_CHARACTERS,
    SKIPPED_LISTED,
    TITLE_CHARACTERS,
    Rules,
    Selection,
    Song,
    judged,
    name_of,
    too_long,
)
from shared.contracts.batch import MAX_ENTRIES
from shared.contracts.codec import encode
from shared.contracts.facts import Expanded
from shared.contracts.problem import Problem
from shared.contracts.work import UNIT_PLAYLIST, Stage
from shared.errors import Code, TerminalError
from shared.jetstream.topology import MAX_MESSAGE_BYTES

LIST = "https://e.org/lists/7"
RULES = Rules(
    playlist=LIST,
    max_seconds=3600.0,
    allow=parse_networks(["10.1.0.0/16"]),
    lists=lambda key: key == "SomeSet",
    plain=lambda url: url.removesuffix("#hidden"),
)
GONE = Problem.of(TerminalError(Code.SOURCE_UNAVAILABLE))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"_type": "url", "url": "https://x.org/a", "title": "A"}, Song("https://x.org/a", "A")),
        ({"_type": "url", "url": " //x.org/a "}, Song("https://x.org/a", None)),
        ({"_type": "url", "url": "../a?b=c"}, Song("https://e.org/a?b=c", None)),
        ({"_type": "url_transparent", "url": "https://x.org/a#hidden"},
         Song("https://x.org/a", None)),
        ({"_type": "url", "url": "https://x.org/\u00e9"}, Song("https://x.org/\u00e9", None)),
        ({"_type": "url", "ie_key": "Youtube", "url": "dQw4w9WgXcQ", "title": "\u202eRick\n"},
         Song("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "Rick")),
        ({"url": "https://cdn.org/f.mp3", "webpage_url": "https://x.org/a"},
         Song("https://x.org/a", None)),
        ({"webpage_url": LIST + "#1", "formats": [{"url": "https://cdn.org/lo"},
          {"url": "https://cdn.org/hi"}]}, Song("https://cdn.org/hi", None)),
        ({"_type": "url", "url": "http://10.1.2.3/a"}, Song("http://10.1.2.3/a", None)),
        ({"_type": "url", "url": "http://x.org", "title": "t" * 999},
         Song("http://x.org", "t" * TITLE_CHARACTERS)),
        ({"_type": "url", "url": "http://x.org", "duration": "long", "title": 7},
         Song("http://x.org", None)),
    ],
)  # fmt: skip
def test_an_entry_is_a_song_with_an_address_of_its_own(
    entry: dict[str, Any], expected: Song
) -> None:
    assert expected == judged(entry, RULES)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (None, Code.SOURCE_UNAVAILABLE),
        ("https://x.org", Code.SOURCE_UNAVAILABLE),
        ({}, Code.SOURCE_NO_MEDIA),
        ({"_type": "url", "url": None}, Code.SOURCE_NO_MEDIA),
        ({"_type": "url", "url": ["https://x.org"]}, Code.SOURCE_NO_MEDIA),
        ({"formats": [7]}, Code.SOURCE_NO_MEDIA),
        ({"_type": "url", "url": "https://x.org", "title": "[Private video]"},
         Code.SOURCE_UNAVAILABLE),
        ({"_type": "url", "url": "https://x.org", "title": "[Deleted video]"},
         Code.SOURCE_UNAVAILABLE),
        ({"_type": "url", "url": "https://x.org", "availability": "subscriber_only"},
         Code.SOURCE_UNAVAILABLE),
        ({"_type": "url", "url": "https://x.org", "live_status": "is_upcoming"}, Code.SOURCE_LIVE),
        ({"_type": "url", "url": "https://x.org", "is_live": True}, Code.SOURCE_LIVE),
        ({"_type": "url", "url": "https://x.org", "duration": 3601}, Code.SOURCE_TOO_LONG),
        ({"_type": "url", "url": LIST}, Code.SOURCE_PLAYLIST),
        ({"_type": "url", "url": LIST + "#again"}, Code.SOURCE_PLAYLIST),
        ({"_type": "url", "url": "https://x.org", "ie_key": "SomeSet"}, Code.SOURCE_PLAYLIST),
        ({"_type": "url", "url": "file:///etc/passwd"}, Code.SOURCE_SCHEME),
        ({"_type": "url", "url": "javascript:alert(1)"}, Code.SOURCE_SCHEME),
        ({"_type": "url", "url": "ytsearch5:cats"}, Code.SOURCE_SCHEME),
        ({"_type": "url", "url": "http://"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://[::1"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://x.org:99999/"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://user:secret@x.org/"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://x.org/a b"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://x.org/\x07"}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://x.org/" + "a" * 3000}, Code.SOURCE_NOT_A_URL),
        ({"_type": "url", "url": "http://127.0.0.1/a"}, Code.SOURCE_FORBIDDEN_ADDRESS),
        ({"_type": "url", "url": "http://[::1]/a"}, Code.SOURCE_FORBIDDEN_ADDRESS),
        ({"_type": "url", "url": "http://10.2.0.1/a"}, Code.SOURCE_FORBIDDEN_ADDRESS),
        ({"_type": "url", "url": "http://169.254.169.254/latest"}, Code.SOURCE_FORBIDDEN_ADDRESS),
    ],
)  # fmt: skip
def test_what_is_no_song_has_its_reason(entry: object, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        judged(entry, RULES)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"url": "https://x.org/\x00a", "title": "T"}, "https://x.org/ a"),
        ({"title": "T"}, "T"),
        ({"url": 7}, "entry 3"),
        (None, "entry 3"),
        ({"url": "u" * 999}, "u" * NAME_CHARACTERS),
    ],
)
def test_a_skipped_entry_has_a_name(entry: object, expected: str) -> None:
    assert expected == name_of(entry, 3)


@pytest.mark.parametrize(("limit", "taken"), [(-1, 0), (0, 0), (2, 2), (10_000, MAX_ENTRIES)])
def test_no_more_are_taken_than_are_wanted_and_stored(limit: int, taken: int) -> None:
    selection = Selection(limit)
    for number in range(MAX_ENTRIES + 10):
        selection.found(f"https://x.org/{number}", None)
    assert len(selection.entries) == taken
    assert selection.skipped[0].problem.code is Code.BATCH_TOO_LONG
    rest = MAX_ENTRIES + 10 - taken
    named = min(rest, SKIPPED_LISTED)
    assert len(selection.skipped) == named + (rest > named)
    if rest > named:
        assert selection.skipped[-1].entry == f"{rest - named} more"


@pytest.mark.parametrize(
    ("counts", "name"),
    [((3,), "3 more"), ((None,), "the rest"), ((3, None), "at least 3 more")],
)
def test_the_last_of_the_skipped_says_how_many_more(
    counts: tuple[int | None, ...], name: str
) -> None:
    selection = Selection(5)
    selection.found("https://x.org", "T")
    for count in counts:
        selection.rest(count, too_long(5))
    assert [(one.entry, one.problem.code) for one in selection.skipped] == [
        (name, Code.BATCH_TOO_LONG)
    ]


def test_a_child_that_lies_gets_nothing_bad_in() -> None:
    selection = Selection(5)
    selection.found("file:///etc/passwd", None)
    lie = msgspec.structs.replace(GONE, title="<b>", hint="x" * 9_000_000, detail="a\n\x00b" * 999)
    selection.missed("\x00\u202e", lie)
    assert selection.entries == ()
    assert [(one.entry, one.problem.code) for one in selection.skipped] == [
        ("file:///etc/passwd", Code.SOURCE_SCHEME),
        ("?", Code.SOURCE_UNAVAILABLE),
    ]
    problem = selection.skipped[1].problem
    assert (problem.title, problem.hint) == (GONE.title, GONE.hint)
    assert problem.detail.startswith("a b")
    assert len(problem.detail) <= NAME_CHARACTERS


def test_the_largest_playlist_fits_a_message() -> None:
    selection = Selection(MAX_ENTRIES)
    for number in range(MAX_ENTRIES):
        selection.found(f"https://x.org/{number}/" + "\u20ac" * 2000, "\u20ac" * 500)
    for _ in range(10_000):
        selection.missed("\u20ac" * 5000, msgspec.structs.replace(GONE, detail="\u20ac" * 5000))
    fact = Expanded(
        job_id="b" * 64,
        stage=Stage.DOWNLOAD,
        unit=UNIT_PLAYLIST,
        attempt=1,
        entries=selection.entries,
        skipped=selection.skipped,
        title="\u20ac" * TITLE_CHARACTERS,
    )
    assert sum(len(encode(entry)) for entry in selection.entries) <= ENTRIES_BYTES
    assert len(selection.entries) > 30
    # Room for what else a batch's record holds.
    assert len(encode(fact)) < MAX_MESSAGE_BYTES - 64_000
