"""What was promised, held against what was seen.  Pure, but for a look at the blobs' folder."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from shared.errors import Code
from tests.chaos.history import retries, violations
from tests.chaos.orders import FAILS_WITH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.client import Ticket
    from tests.chaos.history import Record, Seen

#: Failures that a worker may have which is brought down again and again.
WORKER: Final = "worker."
#: How ``up`` says that a process has ended.
_ENDED: Final = re.compile(r"^([\w-]+) (exited \d+|was killed by \w+);")
#: Ends that we bring about ourselves: an orderly stop, and signals.
_ORDERLY: Final = frozenset({"exited 0", "was killed by SIGKILL", "was killed by SIGTERM"})


def ends(said: Iterable[str]) -> list[tuple[str, str]]:
    """Who ended and how, as ``up`` said it."""
    found = (_ENDED.match(line) for line in said)
    return [(match[1], match[2]) for match in found if match]


def of_processes(said: Iterable[str]) -> Iterator[str]:
    """Services that ended as nobody made them; the broker has exit codes of its own."""
    for name, how in ends(said):
        if how not in _ORDERLY and name != "broker":
            yield f"{name} {how}"


def of_job(seen: Sequence[Seen], tickets: Sequence[Ticket]) -> Iterator[str]:
    """One job: its life, and its end against what its clients asked for."""
    yield from violations(seen)
    if not seen:
        return
    record = seen[-1].record
    asked = sum(ticket.retries for ticket in tickets)
    if retries(record) > asked:
        yield f"it was retried {retries(record)} times, and asked for {asked} times"
    match record.status:
        case "failed":
            yield from _of_failure(record, tickets)
        case "cancelled":
            if tickets and not any(ticket.cancels for ticket in tickets):
                yield "it was cancelled, and nobody asked for that"
        case "completed":
            if any(ticket.order.source in FAILS_WITH for ticket in tickets):
                yield "it completed, and can't have"
    for ticket in tickets:
        if ticket.cancelled and not any(one.status == "cancelled" for one in record.timeline):
            yield "a client was told that it is cancelled, and it never was"


def _of_failure(record: Record, tickets: Sequence[Ticket]) -> Iterator[str]:
    code = record.error.code if record.error else ""
    if code not in set(Code):
        yield f"it failed without a code of the catalogue: {code!r}"
    expected = {FAILS_WITH.get(ticket.order.source) for ticket in tickets}
    if tickets and code not in expected and not code.startswith(WORKER):
        yield f"it failed with {record.error}"


def of_jobs(lives: Mapping[str, Sequence[Seen]], tickets: Iterable[Ticket]) -> Iterator[str]:
    """All jobs: what was accepted is there, once, and nothing else is."""
    by_job: defaultdict[str, list[Ticket]] = defaultdict(list)
    for ticket in tickets:
        if ticket.job_id:
            by_job[ticket.job_id].append(ticket)
        else:
            yield f"order {ticket.order.number} was never accepted"
        yield from (f"order {ticket.order.number}: {wrong}" for wrong in ticket.wrong)
    for job_id in sorted(lives.keys() | by_job.keys()):
        if job_id not in by_job:
            yield f"job {job_id}: made twice from one submission"
        for wrong in of_job(lives.get(job_id, ()), by_job[job_id]):
            yield f"job {job_id}: {wrong}"


def of_revisions(revisions: Sequence[int]) -> Iterator[str]:
    """The bucket's revisions, in the order in which they were told."""
    highest = 0
    for revision in revisions:
        if revision <= highest:
            yield f"the bucket told revision {revision} after {highest}"
        highest = max(highest, revision)


def of_second_look(first: Mapping[str, Seen], second: Mapping[str, Seen]) -> Iterator[str]:
    """Nothing has changed since."""
    for job_id in sorted(first.keys() | second.keys()):
        before, after = first.get(job_id), second.get(job_id)
        if before != after:
            yield f"job {job_id}: between two looks from {_brief(before)} to {_brief(after)}"


def _brief(seen: Seen | None) -> str:
    return f"{seen.record.status} at revision {seen.revision}" if seen else "nothing"


def of_blobs(blobs: Path, records: Mapping[str, Seen]) -> Iterator[str]:
    """Nothing temporary is left; only a failed job keeps what it had, for a retry."""
    for folder in sorted((blobs / "work").glob("*")):
        seen = records.get(folder.name)
        if seen is not None and seen.record.status == "failed":
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                status = seen.record.status if seen else "unknown"
                yield f"{path.relative_to(blobs)} is left of a job that is {status}"
