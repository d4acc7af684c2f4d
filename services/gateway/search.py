"""Lists of jobs: filtered, searched, in order, page by page, quick whatever is asked.

What only few jobs can match is found by an index and read whole.  Everything else is read in the
list's order until the page is full: what many match is found soon.  Only where many match each
condition and hardly any match all does that read on; it does so in slices, between which the
event loop turns.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from services.gateway.cursors import SORTS, Cursor
from services.gateway.schema import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from services.gateway.cursors import Filters, Sort, Wanted

#: Jobs that are few: to read them all takes some milliseconds.
FEW: Final = 1_000
#: Jobs that are not many: to look each of them up takes some milliseconds, too.
SOME: Final = 5_000
#: Jobs that are read past before the loop turns.
SLICE: Final = 4_000
#: Documents indexed at once, and pages of the index merged after it: 3 ms.
INDEXED_AT_ONCE: Final = 32
_MERGED_PAGES: Final = 16
#: Characters of a term that are looked up; the rest is compared.
_LOOKED_UP: Final = 24
#: What is shorter is in no group of three characters, but begins some.
_GROUP: Final = 3
_LAST_CHARACTER: Final = "\U0010ffff"


class _Condition(NamedTuple):
    """A part of a ``where``: SQL of our own, and values that came from outside."""

    sql: str
    values: tuple[str | int, ...] = ()


_EVERYWHERE: Final = _Condition("1")


class _Source(NamedTuple):
    """Where to look: a table, read by one of its indexes, and what of it."""

    table: str
    conditions: tuple[_Condition, ...] = ()


#: All jobs, by age; all by their last change.
_ALL_JOBS: Final = _Source("jobs not indexed")
_AS_THEY_LIE: Final = SORTS["created"]
_BY_UPDATE: Final = _Source("jobs indexed by jobs_by_updated")


class _Found(NamedTuple):
    """A match: where it stands in the list, and its document."""

    at: int
    id: str
    number: int


class Search:
    """Finds jobs, and keeps the index of their words."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    async def page(self, wanted: Wanted) -> list[int]:
        """Numbers of up to ``limit`` documents after the cursor, in the list's order."""
        few = self._few(wanted.filters)
        if few is not None:
            found = self._read(few, wanted, _after(wanted.sort, wanted.after))
        else:
            found = await self._walk(wanted)
        return [match.number for match in found]

    def _few(self, filters: Filters) -> _Source | None:
        """Where only few jobs have to be looked at; None if there is no such place."""
        if filters.batch:
            return _Source("jobs indexed by jobs_by_batch")
        holders = self._holders(filters.term) if filters.term else None
        if holders is None:
            return None
        numbers = msgspec.json.encode(holders).decode()
        condition = _Condition("n in (select value from json_each(?))", (numbers,))
        return _Source("jobs indexed by jobs_by_n", (condition,))

    def _holders(self, term: str) -> list[int] | None:
        """Documents that may have ``term`` in them; None if these are not few."""
        if not self._are_few("unindexed", few=FEW):
            return None
        if len(term) < _GROUP:
            found = self._db.execute(
                "select distinct doc from grams where term >= ? and term <= ? limit ?",
                (term, term + _LAST_CHARACTER, FEW + 1),
            )
        else:
            found = self._db.execute(
                "select rowid from finds where finds match ? limit ?", (_groups(term), FEW + 1)
            )
        holders = [number for (number,) in found]
        if len(holders) > FEW:
            return None
        return holders + [number for (number,) in self._db.execute("select n from unindexed")]

    def _are_few(self, which: str, *values: str | int, few: int) -> bool:
        sql = f"select count(*) from (select 1 from {which} limit {few + 1})"  # noqa: S608 - literals
        found: tuple[int] = self._db.execute(sql, values).fetchone()
        return found[0] <= few

    async def _walk(self, wanted: Wanted) -> list[_Found]:
        """Reads jobs in the list's order until there are enough."""
        source = self._road(wanted)
        edge, found = wanted.after, list[_Found]()
        while True:
            begin = _after(wanted.sort, edge)
            edge = self._edge(source, wanted.sort, begin)
            slice_ = (begin, _until(wanted.sort, edge))
            found += self._read(source, wanted, *slice_, limit=wanted.limit - len(found))
            if edge is None or len(found) == wanted.limit:
                return found
            await asyncio.sleep(0)
            if source == _BY_UPDATE:  # nobody knows how far off the next match is
                return await self._sweep(wanted)

    async def _sweep(self, wanted: Wanted) -> list[_Found]:
        """Reads all jobs as they lie there, which is quickest, and keeps the first of the list."""
        first, edge = list[_Found](), None
        rest = _after(wanted.sort, wanted.after)
        while True:
            begin = _after(_AS_THEY_LIE, edge)
            edge = self._edge(_ALL_JOBS, _AS_THEY_LIE, begin)
            slice_ = (begin, _until(_AS_THEY_LIE, edge))
            first += self._read(_ALL_JOBS, wanted, rest, *slice_)
            first.sort(reverse=wanted.sort.descending)
            del first[wanted.limit :]
            if edge is None:
                return first
            await asyncio.sleep(0)

    def _road(self, wanted: Wanted) -> _Source:
        """What has the list's order: an index of one owner's or one status's jobs, or of all.

        To look up a job that an index names takes five times as long as to read on among all.
        So such an index serves where each of its jobs is wanted, or where it has not many.
        """
        owner, status, term = wanted.filters.owner, wanted.filters.status, wanted.filters.term
        given = [("status", status), ("owner", owner)]
        conditions = [_equal(column, value) for column, value in given if value]
        for condition in conditions:
            column = condition.sql.partition(" ")[0]
            alone = term is None and len(conditions) == 1
            if alone or self._are_few(f"jobs where {condition.sql}", *condition.values, few=SOME):
                index = f"jobs_by_{column}_{wanted.sort.column}"
                return _Source(f"jobs indexed by {index}", (condition,))
        return _BY_UPDATE if wanted.sort.column == "updated" else _ALL_JOBS

    def _edge(self, source: _Source, sort: Sort, begin: _Condition) -> Cursor | None:
        """The last job of the slice that begins there; None if fewer are left."""
        conditions = (*source.conditions, begin)
        found = self._db.execute(
            f"select {sort.column}, id from {source.table}"  # noqa: S608 - literals
            f" where {_all(conditions)} order by {_order(sort)} limit 1 offset {SLICE - 1}",
            _values(conditions),
        ).fetchone()
        return Cursor(*found) if found else None

    def _read(
        self, source: _Source, wanted: Wanted, *places: _Condition, limit: int | None = None
    ) -> list[_Found]:
        conditions = (*source.conditions, *_matching(wanted.filters), *places)
        found = self._db.execute(
            f"select {wanted.sort.column}, id, n from {source.table}"  # noqa: S608 - literals
            f" where {_all(conditions)} order by {_order(wanted.sort)} limit ?",
            (*_values(conditions), wanted.limit if limit is None else limit),
        )
        return [_Found(*row) for row in found]

    def index(self) -> bool:
        """Take some changed documents into the index; whether there were any."""
        changed = self._db.execute(
            "select n, text from unindexed left join jobs using (n) order by n limit ?",
            (INDEXED_AT_ONCE,),
        ).fetchall()
        if not changed:
            return False
        with transaction(self._db):
            for number, text in changed:
                self._db.execute("delete from finds where rowid = ?", (number,))
                if text is not None:
                    self._db.execute(
                        "insert into finds (rowid, text) values (?, ?)", (number, text)
                    )
                self._db.execute("delete from unindexed where n = ?", (number,))
        self._db.execute("insert into finds (finds, rank) values ('merge', ?)", (_MERGED_PAGES,))
        return True


def _groups(term: str) -> str:
    """The groups of three that ``term`` is made of, all to be found; the rest is compared.

    Its end is looked for: addresses begin alike.
    """
    end = term[-_LOOKED_UP:]
    starts = {*range(0, len(end) - _GROUP, _GROUP), len(end) - _GROUP}
    groups = (end[start : start + _GROUP].replace('"', '""') for start in sorted(starts))
    return " AND ".join(f'"{group}"' for group in groups)


def _equal(column: str, value: str) -> _Condition:
    return _Condition(f"{column} = ?", (value,))


def _matching(filters: Filters) -> list[_Condition]:
    equal = (("status", filters.status), ("owner", filters.owner), ("batch", filters.batch))
    found = [_equal(column, value) for column, value in equal if value]
    if filters.term:
        pattern = re.sub(r"[*?[]", r"[\g<0>]", filters.term)
        found.append(_Condition("text glob ?", (f"*{pattern}*",)))
    return found


def _all(conditions: Iterable[_Condition]) -> str:
    return " and ".join(condition.sql for condition in conditions)


def _values(conditions: Iterable[_Condition]) -> tuple[str | int, ...]:
    return tuple(value for condition in conditions for value in condition.values)


def _after(sort: Sort, cursor: Cursor | None) -> _Condition:
    if cursor is None:
        return _EVERYWHERE
    return _Condition(f"({sort.column}, id) {'<' if sort.descending else '>'} (?, ?)", cursor)


def _until(sort: Sort, last: Cursor | None) -> _Condition:
    if last is None:
        return _EVERYWHERE
    return _Condition(f"({sort.column}, id) {'>=' if sort.descending else '<='} (?, ?)", last)


def _order(sort: Sort) -> str:
    way = "desc" if sort.descending else "asc"
    return f"{sort.column} {way}, id {way}"
