"""Whatever happens in whatever order, what must hold holds."""

from __future__ import annotations

from hypothesis import given

from tests.model.settings import (
    CHECKED,
    MANY_CHUNKS,
    MANY_OWNERS,
    STORIES,
    TWINS,
    TWINS_LOST,
    TWINS_RETRIED,
)
from tests.model.story import Step
from tests.model.telling import told
from tests.model.world import changing, mirrors, one_download, one_separator, one_song, two


@CHECKED
@given(steps=STORIES)
def test_one_owner_at_a_time_keeps_every_promise(steps: list[Step]) -> None:
    told(steps)


@CHECKED
@given(steps=STORIES)
def test_two_who_take_themselves_for_the_owner_lose_nothing(steps: list[Step]) -> None:
    told(steps, two)


@CHECKED
@given(steps=TWINS)
def test_equal_jobs_share_a_run_whatever_becomes_of_it(steps: list[Step]) -> None:
    told(steps, one_song)


@CHECKED
@given(steps=TWINS)
def test_one_song_by_several_addresses_is_separated_once(steps: list[Step]) -> None:
    told(steps, mirrors)


@CHECKED
@given(steps=TWINS_RETRIED)
def test_whoever_is_retried_meanwhile_finds_his_place(steps: list[Step]) -> None:
    told(steps, mirrors)


@CHECKED
@given(steps=TWINS_LOST)
def test_nobody_gets_another_song_where_the_sites_change_theirs(steps: list[Step]) -> None:
    told(steps, changing)


@CHECKED
@given(steps=MANY_OWNERS)
def test_nobody_starves_who_waits_for_a_turn(steps: list[Step]) -> None:
    told(steps, one_download)


@CHECKED
@given(steps=MANY_CHUNKS)
def test_nobody_starves_who_waits_for_a_slot(steps: list[Step]) -> None:
    told(steps, one_separator)
