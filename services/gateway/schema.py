"""The read model's tables: what lists, searches and counts need, apart from the snapshots.

The file is a cache: it is thrown away at start and filled from the bucket, so it is not synced
to the disk.  ``jobs`` is clustered by age, so that a list is read in order; it holds what can be
filtered, sorted and counted by, and nothing else, so that reading past many rows is quick.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA: Final = """
create table jobs (
    created integer not null,
    id text not null,
    -- What is looked at while reading past many stands first.
    owner text not null,
    status text not null,
    batch text,
    -- What is searched.
    text text not null,
    -- Number of its document and its snapshot; never given twice.
    n integer not null,
    revision integer not null,
    updated integer not null,
    held integer not null,
    progress real not null,
    queued integer,
    finished integer,
    -- Seconds from being queued to being started, and from there to the end.
    waited real,
    ran real,
    -- What it failed of.
    code text,
    primary key (created, id)
) without rowid;
create unique index jobs_by_id on jobs (id);
create unique index jobs_by_n on jobs (n);
create unique index jobs_by_revision on jobs (revision);
create index jobs_unfinished on jobs (revision)
    where status in ('scheduled', 'pending', 'processing');
create index jobs_by_updated on jobs (updated, id);
create index jobs_by_status_created on jobs (status);
create index jobs_by_status_updated on jobs (status, updated, id);
create index jobs_by_owner_created on jobs (owner);
create index jobs_by_owner_updated on jobs (owner, updated, id);
create index jobs_by_batch on jobs (batch, status, progress) where batch is not null;
create index jobs_by_end on jobs (status, finished, code, waited, ran) where finished is not null;
create index jobs_held on jobs (held) where held = 1;
create index jobs_waiting on jobs (queued) where status = 'pending' and held = 0;

create table snapshots (n integer primary key, snapshot blob not null);

create table batches (
    id text primary key,
    revision integer not null,
    created integer not null,
    submitted integer not null,
    snapshot blob not null
);
create unique index batches_by_revision on batches (revision);
create index batches_by_age on batches (created, id);

-- What was removed lately: live clients that were away are told.
create table gone (
    kind text not null,
    id text not null,
    revision integer not null,
    at integer not null,
    primary key (kind, id)
) without rowid;
create index gone_by_revision on gone (revision);
create index gone_by_time on gone (at);

-- Three characters each, of every job's text; ``unindexed`` names documents that have changed.
create virtual table finds using fts5 (text, tokenize = 'trigram case_sensitive 1');
create virtual table grams using fts5vocab (finds, instance);
create table unindexed (n integer primary key);
-- Left alone, a write would now and then merge for 50 ms; we merge a little at each (see search).
insert into finds (finds, rank) values ('automerge', 0);
insert into finds (finds, rank) values ('crisismerge', 64);
"""
_PRAGMAS: Final = """
pragma journal_mode = memory;
pragma synchronous = off;
pragma locking_mode = exclusive;
pragma secure_delete = off;
pragma cache_size = -16000;
pragma mmap_size = 1073741824;
"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def open_database(path: Path) -> sqlite3.Connection:
    """An empty read model at ``path``, whatever was there before."""
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(_PRAGMAS + _SCHEMA)
    # Nobody else needs it: without a name it goes away with this process, however that ends.
    path.unlink()
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """What is written within is written at once, by whoever began first; no awaiting within."""
    if db.in_transaction:
        yield
        return
    db.execute("begin")
    try:
        yield
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")


def micros(moment: datetime) -> int:
    """A time as whole microseconds: exact, and it sorts."""
    return (moment - _EPOCH) // _MICROSECOND
