"""Lists as players keep them, well and badly written."""

from __future__ import annotations

import pytest

from services.downloader.lists import Line, may_be_list, read_list

BASE = "https://e.org/music/list.m3u"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("#EXTM3U\n", ()),
        ("a.mp3\n", (Line("https://e.org/music/a.mp3"),)),
        ("\r\n  a.mp3 \r\n\r\n/b.mp3\r\n",
         (Line("https://e.org/music/a.mp3"), Line("https://e.org/b.mp3"))),
        ("#EXTM3U\n#EXTINF:12,A - Song\n//cdn.org/a.mp3\n#EXTINF:1,\nhttp://x.org/b",
         (Line("https://cdn.org/a.mp3", "A - Song"), Line("http://x.org/b"))),
        ("#EXTINF:1,lost\n#EXTINF:1,kept\na\nb",
         (Line("https://e.org/music/a", "kept"), Line("https://e.org/music/b"))),
        ("file:///etc/passwd", (Line("file:///etc/passwd"),)),
        ("http://[bad/a", (Line("http://[bad/a"),)),
        ("[playlist]\nFile2=b.mp3\nTitle2=B\nfile1=a.mp3\nLength1=3\nNumberOfEntries=2\nFile=x\n",
         (Line("https://e.org/music/a.mp3"), Line("https://e.org/music/b.mp3", "B"))),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\npart1.ts\n", ()),
        ("<!doctype html><html>", ()),
    ],
)  # fmt: skip
def test_a_list_is_read_as_players_do(text: str, expected: tuple[Line, ...]) -> None:
    assert expected == read_list(text, BASE)


def test_a_list_without_an_end_is_cut_off() -> None:
    assert len(read_list("a\n" * 300_000, BASE)) <= 100_001


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://e.org/a.M3U?x=1", True),
        ("http://e.org/a.m3u8", True),
        ("http://e.org/a.pls#x", True),
        ("http://e.org/a.mp3?b.m3u", False),
        ("http://e.org/m3u", False),
        ("http://e.org", False),
    ],
)
def test_only_files_of_that_name_are_looked_into(url: str, *, expected: bool) -> None:
    assert expected == may_be_list(url)
