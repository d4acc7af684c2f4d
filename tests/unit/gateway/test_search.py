"""Lists of jobs: every filter, order and term against what plain Python finds."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.gateway import search as search_module
from services.gateway.columns import text_of
from services.gateway.cursors import SORTS, Cursor, searchable, wanted_jobs
from services.gateway.schema import micros
from shared.contracts.job import Job, Status
from shared.contracts.request import Source, Terms
from shared.contracts.snapshot import Snapshot, snapshot
from tests.support import jobs
from tests.support.jobs import METADATA, NOW
from tests.unit.gateway.conftest import model_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.gateway.conftest import Model

COUNT: Final = 120
TITLES: Final = ("Straße nach Norden", "100% *real* [live]?", 'The "End"', "夜に駆ける", "Ab", None)


def made(number: int) -> Job:
    chance = random.Random(number)  # noqa: S311 - the same ones each time
    status = chance.choice(list(Status))
    title = chance.choice(TITLES)
    return replace(
        jobs.OF_STATUS[status](),
        id=f"{chance.getrandbits(32):08x}",
        source=Source(url=f"https://example.org/{chance.getrandbits(24):06x}.mp3"),
        # Many at the same time: then the id decides.
        created_at=NOW + timedelta(microseconds=number // 7),
        updated_at=NOW + timedelta(microseconds=chance.randrange(20)),
        metadata=replace(METADATA, title=title, artist="Ångström") if title else None,
        terms=Terms(owner=chance.choice(("", "me", "you"))),
        batch=chance.choice((None, "b1", "b2")),
    )


JOBS: Final = [made(number) for number in range(COUNT)]


def expected(query: dict[str, str]) -> list[str]:
    """What the list must be, by the simplest code."""
    wanted = wanted_jobs(query)
    filters = wanted.filters

    def matches(job: Job) -> bool:
        return (
            (filters.status in {None, job.status.value})
            and (filters.owner in {None, job.terms.owner})
            and (filters.batch in {None, job.batch})
            and (filters.term is None or filters.term in text_of(snapshot(job)))
        )

    def key(job: Job) -> tuple[int, str]:
        return micros(job.updated_at if "updated" in wanted.sort else job.created_at), job.id

    found = sorted(filter(matches, JOBS), key=key, reverse=wanted.sort.descending)
    return [job.id for job in found]


async def pages(model: Model, query: dict[str, str], limit: int) -> list[str]:
    """All of a list, page by page."""
    wanted = wanted_jobs(query)._replace(limit=limit)
    found: list[str] = []
    while True:
        rows = model.projection.rows(await model.search.page(wanted))
        found += [row.snapshot.id for row in rows]
        if len(rows) < limit:
            return found
        last = rows[-1].snapshot
        moment = last.updated_at if wanted.sort.column == "updated" else last.created_at
        wanted = wanted._replace(after=Cursor(micros(moment), last.id))


def fill(model: Model, order: list[Job], *, indexed: bool) -> None:
    for revision, job in enumerate(order, 1):
        model.projection.store(revision, job)
    while indexed and model.search.index():
        pass


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Model]]:
    """The same jobs, indexed and not yet."""
    models = {}
    for indexed in (True, False):
        models[indexed] = model_at(tmp_path_factory.mktemp("model") / "jobs.sqlite")
        fill(models[indexed], JOBS, indexed=indexed)
    yield models
    for model in models.values():
        model.db.close()


@pytest.fixture(params=["indexed", "not yet indexed", "few are few", "small slices"])
def filled(
    request: pytest.FixtureRequest, stored: dict[bool, Model], monkeypatch: pytest.MonkeyPatch
) -> Model:
    """The same jobs by each way of finding them."""
    if request.param == "few are few":
        monkeypatch.setattr(search_module, "FEW", 3)
    if request.param == "small slices":
        for name, value in (("FEW", 0), ("SOME", 30), ("SLICE", 10)):
            monkeypatch.setattr(search_module, name, value)
    return stored[request.param != "not yet indexed"]


TERMS: Final = (
    *("e", "é", "st", "STRASSE", "straße", "http", "org/", "mp3", "夜", "に駆", "夜に駆ける"),
    *(
        "%",
        "*",
        "?",
        "[",
        "]",
        "[live]",
        "*real*",
        '"',
        '"end"',
        "' or 1=1",
        "example.org",
        "ngström",
    ),
    *("nothing has this", "zq", "\U0001f3b5", "ab", "_", "AND", 'a" OR "b', "NEAR(a b)", "-x", "^"),
    JOBS[3].id,
    JOBS[3].id[2:6],
    f"https://example.org/{JOBS[9].source.url[-10:] if JOBS[9].source.url else ''}",
    "x" * 200,
    "https://example.org/" * 9,
)


@pytest.mark.parametrize("term", TERMS)
async def test_a_term_is_found_wherever_it_stands(filled: Model, term: str) -> None:
    for more in (
        {},
        {"sort": "updated"},
        {"status": "completed"},
        {"owner": "me", "sort": "created"},
    ):
        query = {"q": term, **more}
        assert expected(query) == await pages(filled, query, COUNT)


@pytest.mark.parametrize("sort", SORTS)
async def test_filters_and_orders_in_any_combination(filled: Model, sort: str) -> None:
    values = (("", "me", "nobody"), ("", "failed", "pending"), ("", "b1", "b9"))
    for owner, status, batch in product(*values):
        query = {"sort": sort, "owner": owner, "status": status, "batch": batch}
        assert expected(query) == await pages(filled, query, COUNT)


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_join_without_gap_or_overlap(filled: Model, sort: str) -> None:
    for query in ({}, {"status": "completed"}, {"q": "mp3"}, {"owner": "me"}):
        for limit in (1, 7, 50):
            asked = {**query, "sort": sort}
            assert expected(asked) == await pages(filled, asked, limit)


async def test_two_gateways_show_the_same_pages(model: Model, tmp_path: Path) -> None:
    other = model_at(tmp_path / "other.sqlite")
    fill(model, JOBS, indexed=True)
    fill(other, list(reversed(JOBS)), indexed=False)
    for sort in SORTS:
        wanted = wanted_jobs({"sort": sort, "limit": "7"})
        shown = [
            [row.snapshot.id for row in one.projection.rows(await one.search.page(wanted))]
            for one in (model, other)
        ]
        assert shown[0] == shown[1]
    other.db.close()


async def test_a_new_job_does_not_shift_the_pages_after_a_cursor(model: Model) -> None:
    fill(model, JOBS, indexed=True)
    wanted = wanted_jobs({"limit": "10"})
    last = model.projection.rows(await model.search.page(wanted))[-1].snapshot
    cursor = Cursor(micros(last.created_at), last.id)
    model.projection.store(999, replace(made(0), id="new", created_at=NOW + timedelta(days=1)))
    after = model.projection.rows(await model.search.page(wanted._replace(after=cursor)))
    assert expected({})[10:20] == [row.snapshot.id for row in after]


async def test_a_cursor_holds_when_its_job_is_gone(model: Model) -> None:
    fill(model, JOBS, indexed=True)
    wanted = wanted_jobs({"limit": "10"})
    last = model.projection.rows(await model.search.page(wanted))[-1].snapshot
    model.projection.remove(999, last.id, NOW)
    cursor = Cursor(micros(last.created_at), last.id)
    after = model.projection.rows(await model.search.page(wanted._replace(after=cursor)))
    assert expected({})[10:20] == [row.snapshot.id for row in after]


async def found(model: Model, term: str) -> list[str]:
    return await pages(model, {"q": term}, 50)


@pytest.mark.parametrize("indexed", [True, False])
async def test_what_a_song_is_called_once_that_is_known_is_found(
    model: Model, *, indexed: bool
) -> None:
    model.projection.store(1, replace(jobs.pending(), metadata=None))
    while model.search.index():
        pass
    assert await found(model, "somebody") == []
    model.projection.store(2, replace(jobs.pending(), metadata=METADATA))
    while indexed and model.search.index():
        pass
    assert await found(model, "somebody") == ["j1"]
    model.projection.store(3, replace(jobs.pending(), metadata=replace(METADATA, artist="Else")))
    while indexed and model.search.index():
        pass
    assert (await found(model, "somebody"), await found(model, "ELSE")) == ([], ["j1"])


@pytest.mark.parametrize("indexed", [True, False])
async def test_what_was_removed_is_not_found(model: Model, *, indexed: bool) -> None:
    model.projection.store(1, jobs.pending())
    while model.search.index():
        pass
    model.projection.remove(2, "j1", NOW)
    while indexed and model.search.index():
        pass
    assert await found(model, "example") == []
    assert model.db.execute("select count(*) from finds").fetchone() == (int(not indexed),)


def test_the_index_is_made_in_small_pieces(model: Model) -> None:
    for number in range(search_module.INDEXED_AT_ONCE * 2 + 1):
        model.projection.store(number + 1, replace(jobs.pending(), id=f"j{number}"))
    assert [model.search.index() for _ in range(5)] == [True, True, True, False, False]


async def test_a_long_search_lets_the_loop_turn(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "SLICE", 10)
    fill(model, JOBS, indexed=False)
    monkeypatch.setattr(search_module, "FEW", 0)
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turning())
    assert await found(model, "nothing has this") == []
    task.cancel()
    assert turns >= COUNT // 10


def titled(title: str, artist: str = "") -> Snapshot:
    named = replace(METADATA, title=title, artist=artist)
    return snapshot(replace(jobs.pending(), metadata=named))


@pytest.mark.parametrize("title", ["x" * 1_000_000, "\x00" * 600, "﷽" * 600])
def test_what_comes_from_outside_is_bounded(title: str) -> None:
    assert len(text_of(titled(title, title))) < 40_000


@settings(max_examples=50, deadline=None)
@given(title=st.text(max_size=30), term=st.text(min_size=1, max_size=8))
def test_any_text_is_found_by_any_part_of_it(
    tmp_path_factory: pytest.TempPathFactory, title: str, term: str
) -> None:
    model = model_at(tmp_path_factory.mktemp("model") / "jobs.sqlite")
    sought = searchable(term)
    job = replace(jobs.pending(), metadata=replace(METADATA, title=title))
    model.projection.store(1, job)
    model.search.index()
    wanted = wanted_jobs({})
    wanted = wanted._replace(filters=wanted.filters._replace(term=sought))
    numbers = asyncio.run(model.search.page(wanted))
    assert (sought in text_of(snapshot(job))) == (len(numbers) == 1)
    model.db.close()


async def test_each_list_is_read_by_an_index(model: Model) -> None:
    """A sort of all would take as long as there are jobs."""
    fill(model, JOBS, indexed=True)
    statements: list[str] = []
    model.db.set_trace_callback(statements.append)
    for sort in SORTS:
        for more in (
            {},
            {"status": "failed"},
            {"owner": "me"},
            {"owner": "me", "status": "failed"},
        ):
            await model.search.page(wanted_jobs({"sort": sort, **more}))
    model.db.set_trace_callback(None)
    read = [sql for sql in statements if sql.startswith("select") and "order by" in sql]
    for sql in read:
        plan = [row[3] for row in model.db.execute(f"explain query plan {sql}")]
        assert not any("TEMP B-TREE" in step for step in plan), (sql, plan)
        assert plan[0].startswith(("SEARCH jobs", "SCAN jobs")), (sql, plan)
    assert len(read) == 2 * len(SORTS) * 4
