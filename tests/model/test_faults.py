"""The model would notice: each of these mistakes, planted into the scheduler, is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given

from tests.model import faults, twin_faults
from tests.model.faults import deciding_wrongly
from tests.model.settings import (
    DYING,
    FAULTY,
    HEIRS,
    MANY_CHUNKS,
    MANY_OWNERS,
    STORIES,
    TWINS,
    TWINS_LOST,
    TWINS_RETRIED,
    with_more,
)
from tests.model.story import Step, Story
from tests.model.watch import ViolationError
from tests.model.world import (
    World,
    changing,
    mirrors,
    one_download,
    one_separator,
    one_song,
    two,
    two_of_one_song,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tests.model.faults import Plant


class Fault(NamedTuple):
    """What is planted, what is said when it is found, and the stories that should find it."""

    plant: Plant
    found: str
    steps: SearchStrategy[list[Step]] = STORIES
    world: Callable[[], World] = World


def decided(wrong: faults.Wrong, found: str, *more: str) -> Fault:
    """A fault in what comes of a decision, and what has to happen more often to bring it about."""
    return Fault(deciding_wrongly(wrong), found, with_more(*more))


FAULTS = {
    "what took effect before is not said again": decided(
        faults.silent_repetition, "never said|work is left|stuck", "cancel", "crash in a message"
    ),
    "a late fact undoes a cancel": decided(
        faults.late_fact_undoes_a_cancel, "cancelled became processing", "cancel", "late"
    ),
    "a job has two ends": decided(faults.two_ends, "completed became cancelled", "cancel"),
    "progress goes backwards": decided(
        faults.progress_of_what_is_left, r"[\d.]+ became [\d.]+", "lost"
    ),
    "attempts begin anew": decided(
        faults.attempts_begin_anew, "attempt|became 0|begin lower", "cancel", "retry"
    ),
    "work is ordered for what has ended": decided(
        faults.failed_goes_on, "work for a job that is failed", "terminal"
    ),
    "a job is lost": decided(faults.cancelled_is_gone, "only what has ended is removed", "cancel"),
    "a job made anew begins with attempt 1": decided(
        faults.made_anew_from_one, "comes twice|stuck", "cancel", "delete", "submit again"
    ),
    "an outbox stops what it orders": decided(
        faults.stopped_by_its_own_outbox, "stuck", "lost", "submit again"
    ),
    "a fact of another attempt is accepted": Fault(
        faults.any_attempt_will_do, "was not awaited", with_more("late", "retryable")
    ),
    "nothing is said at a take-over": Fault(
        faults.nothing_said_at_a_take_over, "stuck|never said", with_more("crash in thought")
    ),
    "chunks of other jobs are not counted": Fault(faults.every_job_has_all_slots, "chunks are out"),
    "one owner goes first for ever": Fault(
        faults.one_owner_first, "passed over", MANY_OWNERS, one_download
    ),
    "the shortest goes first for ever": Fault(
        faults.no_patience, "waits for a chunk", MANY_CHUNKS, one_separator
    ),
    "too many are processing": Fault(
        faults.one_more_than_may, "are processing", MANY_OWNERS, one_download
    ),
    "a write is not compared": Fault(
        faults.no_compare_and_set, "became|comes twice|awaited|stuck|lost", STORIES, two
    ),
    "a fact is dropped for an old record": Fault(
        faults.old_records_are_trusted, "stuck", with_more("take over", "retryable"), two
    ),
    "a dying owner's orders are lost": Fault(
        faults.what_others_wrote_is_not_said,
        "stuck",
        DYING,
        two_of_one_song,
    ),
    "what was released is forgotten": Fault(
        faults.released_and_forgotten, "stuck", with_more("hold", "release")
    ),
    "the time of the next attempt passes": Fault(
        faults.no_second_try, "stuck", with_more("retryable")
    ),
    "the last chunk is forgotten": Fault(faults.last_chunk_forgotten, "stuck|comes to rest"),
    "a cancelled batch leaves jobs behind": Fault(
        faults.cancel_what_is_known, "goes on", with_more("submit batch", "cancel batch")
    ),
    "a leader sweeps what another goes on with": Fault(
        deciding_wrongly(twin_faults.leader_sweeps), "still needed|again", TWINS, one_song
    ),
    "an heir begins anew": Fault(
        deciding_wrongly(twin_faults.heir_begins_anew),
        "finished chunks again|stuck",
        TWINS,
        one_song,
    ),
    "a job goes back into the run that it left": Fault(
        deciding_wrongly(twin_faults.back_into_the_run_it_left),
        "comes twice|again|still needed",
        TWINS_RETRIED,
        one_song,
    ),
    "others begin before an heir": Fault(
        twin_faults.others_begin_before_an_heir, "begins before", HEIRS, one_song
    ),
    "equal jobs compute side by side": Fault(
        twin_faults.everybody_for_himself, "compute the same", TWINS, one_song
    ),
    "one song by two addresses is two songs": Fault(
        twin_faults.nobody_looks_at_the_song, "compute the same", TWINS, mirrors
    ),
    "another track is taken for the same": Fault(
        twin_faults.whatever_is_fetched_anew_is_the_same, "is put together of", TWINS_LOST, changing
    ),
    "a follower takes another song": Fault(
        twin_faults.any_song_will_do, "given another song", TWINS_LOST, changing
    ),
    "followers are forgotten": Fault(twin_faults.followers_are_forgotten, "stuck", TWINS, one_song),
    "what is shared is removed": Fault(
        twin_faults.nothing_is_shared, "still needed|gone|not there", TWINS, one_song
    ),
    "a song of a batch is left out": Fault(
        faults.errand_counts_too_far, "has no job", with_more("submit batch")
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    fault.plant(monkeypatch)

    @FAULTY
    @given(steps=fault.steps)
    def tell(steps: list[Step]) -> None:
        Story(fault.world()).tell(steps)

    with pytest.raises(ViolationError, match=fault.found):
        tell()
