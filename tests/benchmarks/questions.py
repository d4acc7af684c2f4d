"""What clients ask of the list of jobs, and how long the answers take."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from tests.benchmarks.records import COMMON, OWNERS, RARE
from tests.benchmarks.timing import in_turn, median, percentile

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from tests.benchmarks.report import Report

    #: A job, or any other answer, as it came.
    Json = dict[str, Any]


class Question(NamedTuple):
    """One kind of question."""

    what: str
    path: str
    #: Whether a job on the page is one that was asked for: a gateway that does not know a
    #: parameter answers with any.
    right: Callable[[Json], bool] = lambda _: True


QUESTIONS: Final = (
    Question("newest 50", "/v1/jobs?limit=50"),
    Question("last changed 50", "/v1/jobs?limit=50&sort=-updated"),
    Question(
        "50 that failed",
        "/v1/jobs?limit=50&status=failed",
        lambda job: bool(job["status"] == "failed"),
    ),
    Question(
        "50 of one owner",
        f"/v1/jobs?limit=50&owner={OWNERS[0]}",
        lambda job: bool(job.get("owner") == OWNERS[0]),
    ),
    Question(
        "search that every second job matches",
        f"/v1/jobs?limit=50&q={COMMON}",
        lambda job: COMMON in _text(job),
    ),
    Question(
        "search that one job in 500 matches",
        f"/v1/jobs?limit=50&q={RARE}",
        lambda job: RARE in _text(job),
    ),
    Question("search that none matches", "/v1/jobs?limit=50&q=xylophone", lambda _: False),
    Question(
        "search and status that many match, but none matches both",
        f"/v1/jobs?limit=50&status=failed&q={COMMON}",
        lambda _: False,
    ),
    Question("counts", "/v1/stats"),
)


async def ask_all(
    session: aiohttp.ClientSession, url: str, *, count: int, of: str, wanted: str, report: Report
) -> None:
    """Each question ``count`` times, one after another; then page after page."""

    async def ask(path: str) -> Json | None:
        async with session.get(url + path) as answer:
            body = await answer.read()
            return None if answer.status != 200 else dict(msgspec.json.decode(body))

    for question in QUESTIONS:
        page = await ask(question.path)
        if page is None or not all(question.right(job) for job in page.get("jobs", ())):
            report.say(f"Not offered: {question.what}.")
            continue
        times = await in_turn(partial(ask, question.path), count)
        _add(report, question.what, times, of, wanted)

    cursor = ""

    async def turn() -> None:
        nonlocal cursor
        page = await ask(f"/v1/jobs?limit=50&cursor={cursor}")
        assert page is not None
        cursor = page["next"] or ""

    _add(report, "page after page", await in_turn(turn, count), of, wanted)


def _add(report: Report, what: str, times: list[float], of: str, wanted: str) -> None:
    report.add(f"{what}, p50", median(times), "ms", of=of)
    report.add(f"{what}, p99", percentile(times, 99), "ms", of=of, wanted=wanted)


def _text(job: Json) -> str:
    """What a search looks into."""
    metadata = job["metadata"] or {}
    return " ".join(str(metadata.get(name)) for name in ("title", "artist")) + str(job["source"])
