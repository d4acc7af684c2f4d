"""Metadata, names and settings: what comes from outside is text and nothing more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.downloader.config import DownloaderConfig
from services.downloader.core import (
    TEXT_CHARACTERS,
    check_url,
    clean_link,
    clean_text,
    detail_of,
    extension_of,
    megabytes,
    metadata_of,
    seconds_to_wait,
    title_of,
)
from shared.contracts.audio import Metadata
from shared.errors import Code, TerminalError
from shared.settings import SettingError, read_settings

NOW = datetime(2026, 11, 5, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", Code.SOURCE_SCHEME),
        ("ftp://example.org/a", Code.SOURCE_SCHEME),
        ("ytsearch:abc", Code.SOURCE_SCHEME),
        ("just words", Code.SOURCE_SCHEME),
        ("http://", Code.SOURCE_NOT_A_URL),
        ("http://[::1", Code.SOURCE_NOT_A_URL),
    ],
)
def test_only_http_addresses_are_fetched(url: str, code: Code) -> None:
    with pytest.raises(TerminalError) as caught:
        check_url(url)
    assert caught.value.code is code


@pytest.mark.parametrize("url", ["http://example.org/a", "HTTPS://example.org", "http://[::1]/"])
def test_http_addresses_pass(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A Song", "A Song"),
        ("  two\n\tlines ", "two lines"),
        ("nul\x00 and escape\x1b[31m", "nul and escape [31m"),
        ("rtl \u202eoverride\u200b", "rtl override"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("surrogate \ud800", "surrogate"),
        ("x" * 1000, "x" * TEXT_CHARACTERS),
        ("", None),
        (" \n ", None),
        (None, None),
        (7, None),
        ({"a": 1}, None),
    ],
)
def test_text_is_one_line_of_bounded_length(value: object, expected: str | None) -> None:
    assert clean_text(value) == expected


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://i.example.org/p.jpg?x=1", True),
        ("http://example.org/", True),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,AAAA", False),
        ("//example.org/p.jpg", False),
        ("https://user:pass@example.org/", False),
        ("https://example.org/\nx", False),
        ("https://" + "a" * 3000, False),
        ("https://[", False),
        (None, False),
    ],
)
def test_links_are_http_or_nothing(value: object, *, kept: bool) -> None:
    assert clean_link(value) == (value if kept else None)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, Metadata()),
        (
            {
                "title": "T",
                "track": "Track",
                "artists": ["A", 3, "B"],
                "duration": 12,
                "thumbnail": "https://e.org/p",
                "webpage_url": "https://e.org/w",
                "extractor_key": "Youtube",
            },
            Metadata(
                title="Track",
                artist="A, B",
                duration=12.0,
                thumbnail="https://e.org/p",
                page="https://e.org/w",
                extractor="Youtube",
            ),
        ),
        ({"title": "T", "uploader": "U", "artist": ""}, Metadata(title="T", artist="U")),
        ({"title": ["x"], "duration": "12", "thumbnail": "file:///x"}, Metadata()),
        ({"duration": float("nan")}, Metadata()),
        ({"duration": True}, Metadata()),
        ({"duration": -1}, Metadata()),
    ],
)
def test_metadata_is_what_can_be_trusted(info: dict[str, Any], expected: Metadata) -> None:
    assert metadata_of(info) == expected


@pytest.mark.parametrize(
    ("name", "title", "extension"),
    [
        ("My_Song.MP3", "My Song", "mp3"),
        ("C:\\Users\\me\\a b.flac", "a b", "flac"),
        ("/tmp/../etc/passwd", "passwd", "bin"),  # noqa: S108 - a name, not a file
        (".mp3", ".mp3", "bin"),
        ("song.thisistoolong", "song", "bin"),
        ("song.m/3", "3", "bin"),
        ("", None, "bin"),
    ],
)
def test_an_upload_is_named_after_its_file(name: str, title: str | None, extension: str) -> None:
    assert (title_of(name), extension_of(name, "bin")) == (title, extension)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 86_400.0),
        ("-5", None),
        ("soon", None),
        ("Thu, 05 Nov 2026 12:00:30 GMT", 30.0),
        ("Thu, 05 Nov 2026 12:00:30 -0000", 30.0),
        ("Thu, 05 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    header: str | None, expected: float | None
) -> None:
    assert seconds_to_wait(header, NOW) == expected


def test_a_detail_loses_what_is_for_users_of_yt_dlp() -> None:
    message = "\x1b[0;31mERROR:\x1b[0m [x] a: Broken; please report this issue on https://…\nx"
    assert detail_of(message) == "Broken"


def test_sizes_leave_out_what_is_unknown() -> None:
    said = [
        megabytes(3_100_000, 8_400_000, 1_200_000.0),
        megabytes(3_100_000, None, None),
    ]
    assert said == ["3.1 of 8.4 MB, 1.2 MB/s", "3.1 MB"]


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(SettingError, match="STEMBUS_ALLOW_NETWORKS"):
        read_settings(DownloaderConfig, {"STEMBUS_ALLOW_NETWORKS": "10.0.0.0/8, home"})
    with pytest.raises(SettingError, match="STEMBUS_MAX_TRACK_SECONDS"):
        read_settings(DownloaderConfig, {"STEMBUS_MAX_TRACK_SECONDS": "0"})


def test_settings_are_read_from_the_environment() -> None:
    read = read_settings(DownloaderConfig, {"STEMBUS_ALLOW_NETWORKS": "10.0.0.0/8,::1"})
    assert read.allow_networks == ("10.0.0.0/8", "::1")
