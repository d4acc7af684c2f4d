"""Mistakes about equal jobs, to be planted: each breaks one promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from services.scheduler import dispatcher, ledger, precedents, records, relations
from services.scheduler.decision import Changed, LeaderEnded, Others
from services.scheduler.rules import record, sharing
from shared.contracts.commands import CancelJob, RetryJob
from shared.contracts.request import Options
from shared.contracts.work import SweepWork

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

    from services.scheduler.decision import Outcome, Stimulus
    from shared.contracts.job import Job


_FRESH: Final = Options(reuse=False)


def leader_sweeps(_: object, stimulus: Stimulus, __: object, outcome: Outcome) -> Outcome:
    """A job that is cancelled sweeps its run, whoever goes on with it."""
    if not isinstance(outcome, Changed) or not isinstance(stimulus, CancelJob):
        return outcome
    job = outcome.job
    if job.legacy is None:
        return outcome
    sweep = SweepWork(job_id=job.id, attempt=job.attempt_floor, run=job.legacy.run)
    return Changed(replace(job, outbox=(*job.outbox, sweep)))


def heir_begins_anew(_: object, stimulus: Stimulus, __: object, outcome: Outcome) -> Outcome:
    """Who takes a run over forgets which chunks are finished."""
    if not isinstance(outcome, Changed) or not isinstance(stimulus, LeaderEnded):
        return outcome
    job = outcome.job
    units = {name: unit for name, unit in job.units.items() if not name.isdigit()}
    return Changed(replace(job, units=units)) if job.run else outcome


def back_into_the_run_it_left(
    job: Job | None, stimulus: Stimulus, _: object, outcome: Outcome
) -> Outcome:
    """A job that is retried goes on where it has left its run to another."""
    if isinstance(outcome, Changed) and isinstance(stimulus, RetryJob) and job and job.legacy:
        return Changed(replace(outcome.job, run=job.legacy.run, options=_FRESH))
    return outcome


def everybody_for_himself(patch: pytest.MonkeyPatch) -> None:
    """Nobody sees that another is at work on the same."""
    patch.setattr(precedents.Precedents, "_at_work", lambda *_: None)


def nobody_looks_at_the_song(patch: pytest.MonkeyPatch) -> None:
    """What comes by another address is another song."""

    async def nothing(*_: object, **__: object) -> Others:
        return Others()

    patch.setattr(precedents.Precedents, "_of_result", nothing)


def whatever_is_fetched_anew_is_the_same(patch: pytest.MonkeyPatch) -> None:
    """Finished chunks are kept although the track that was fetched anew is another one."""
    patch.setattr(record, "without_plan", lambda job: job)


def any_song_will_do(patch: pytest.MonkeyPatch) -> None:
    """A follower takes what its leader has come to, whichever song that is by now."""
    patch.setattr(relations.Relations, "astray", lambda *_: [])
    patch.setattr(sharing, "_serves", lambda leader, job: leader.result and job.held_at is None)


def followers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told that its leader has ended."""
    patch.setattr(ledger.Ledger, "forsaken", lambda _: [])


def others_begin_before_an_heir(patch: pytest.MonkeyPatch) -> None:
    """While a run is being taken over, others of the same song are started."""
    real = dispatcher.Dispatcher.decisions

    def decisions(self: dispatcher.Dispatcher, now: datetime) -> list[Any]:
        found = list[Any](real(self, now))
        waits = any(isinstance(one, LeaderEnded) for one in found)
        return [*found, *self._starts(now)] if waits else found

    patch.setattr(dispatcher.Dispatcher, "decisions", decisions)


def nothing_is_shared(patch: pytest.MonkeyPatch) -> None:
    """Whoever is removed takes its files along."""
    patch.setattr(records.Records, "shares", lambda *_: (False, False))
