"""What yt-dlp's failures mean: every kind, every status, every known message."""

from __future__ import annotations

import pytest

from services.downloader.failures import (
    MESSAGES,
    STATUSES,
    VERDICTS,
    Blame,
    Kind,
    of_kind,
    of_status,
)
from shared.errors import CATALOGUE, Code, RetryableError, TerminalError


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, Code.SOURCE_REFUSED, False),
        (401, Code.SOURCE_REFUSED, False),
        (403, Code.SOURCE_REFUSED, False),
        (404, Code.SOURCE_NOT_FOUND, False),
        (408, Code.SOURCE_UNREACHABLE, True),
        (410, Code.SOURCE_NOT_FOUND, False),
        (416, Code.SOURCE_REFUSED, False),
        (425, Code.SOURCE_UNREACHABLE, True),
        (429, Code.SOURCE_RATE_LIMITED, True),
        (451, Code.SOURCE_UNAVAILABLE, False),
        (500, Code.SOURCE_UNREACHABLE, True),
        (503, Code.SOURCE_UNREACHABLE, True),
        (599, Code.SOURCE_UNREACHABLE, True),
    ],
)
def test_a_status_means(status: int, code: Code, *, retryable: bool) -> None:
    error = of_status(status, "said so", 9.0)
    assert (error.code, isinstance(error, RetryableError)) == (code, retryable)
    if isinstance(error, RetryableError):
        assert error.retry_after == 9.0


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_verdict(kind: Kind) -> None:
    assert of_kind(kind, "no known words").code is VERDICTS[kind].code


@pytest.mark.parametrize(("part", "code"), [(part, verdict.code) for part, verdict in MESSAGES])
def test_words_decide_where_the_class_says_little(part: str, code: Code) -> None:
    assert of_kind(Kind.EXPLAINED, f"[site] x: {part.upper()} and more").code is code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("[youtube] x: Sign in to confirm you're not a bot. Use --cookies", Code.SOURCE_REFUSED),
        ("[youtube] x: Private video. Sign in if you've been granted", Code.SOURCE_UNAVAILABLE),
        ("[youtube] x: Video unavailable. It has been removed", Code.SOURCE_UNAVAILABLE),
        ("[youtube] x: This live event will begin in 3 hours.", Code.SOURCE_LIVE),
        ("[youtube] x: The session has been rate-limited by YouTube", Code.SOURCE_RATE_LIMITED),
        ("[vimeo] x: This video is DRM protected", Code.SOURCE_UNAVAILABLE),
    ],
)
def test_messages_of_the_great_sites(message: str, code: Code) -> None:
    assert of_kind(Kind.EXPLAINED, message).code is code


def test_words_do_not_overrule_a_class_that_says_enough() -> None:
    assert of_kind(Kind.GEO_RESTRICTED, "sign in").code is Code.SOURCE_UNAVAILABLE


def test_every_code_is_in_the_catalogue() -> None:
    verdicts = (*VERDICTS.values(), *STATUSES.values(), *(v for _, v in MESSAGES))
    assert all(verdict.code in CATALOGUE for verdict in verdicts)


@pytest.mark.parametrize(
    ("url", "extractors", "site"),
    [
        ("https://Example.ORG:8443/a", (), "example.org"),
        ("https://youtu.be/x", ("Youtube",), "Youtube"),
        ("https://blog.example.org/x", ("Youtube", "Vimeo"), "Youtube"),
        ("https://example.org/x", ("\x00", "Vimeo"), "Vimeo"),
        ("https://[::1]:1/x", (), "::1"),
        ("https://[bad", (), None),
        ("", (), None),
    ],
)
def test_a_site_is_its_extractor_or_its_host(
    url: str, extractors: tuple[str, ...], site: str | None
) -> None:
    blame = Blame(url)
    for extractor in extractors:
        blame.recognized(extractor)
    error = RetryableError(Code.SOURCE_RATE_LIMITED)
    blame.put_on(error)
    assert error.site == site


@pytest.mark.parametrize("code", [Code.STORAGE_FULL, Code.WORKER_CRASHED, Code.INTERNAL])
def test_what_befell_ourselves_is_no_site_s_doing(code: Code) -> None:
    error = TerminalError(code)
    Blame("https://example.org/").put_on(error)
    assert error.site is None
