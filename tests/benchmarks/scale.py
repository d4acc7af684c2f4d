"""How much of everything: enough to lean on, or just enough to see that it runs."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """Counts."""

    submits: int
    #: Live connections, and ticks that each is sent.
    clients: int
    ticks: int
    #: Starts of the whole stack.
    starts: int
    #: Lives of jobs, all at once as far as ``lifecycle.IN_FLIGHT`` lets them; and one by one.
    lives: int
    lives_alone: int
    #: Songs that go through the real workers.
    songs: int
    #: Sizes of the bucket, in stored jobs that have ended.
    stored: tuple[int, ...]
    #: Jobs that wait for their turn.
    waiting: int
    #: Questions of each kind to a list.
    questions: int
    #: At each of these sizes: submissions, and lives.
    growth_submits: int
    growth_lives: int
    #: Turns of each alternative, and of Stembus beside them; in each turn: submissions, lives.
    rounds: int
    kicks: int
    race_lives: int
    race_lives_alone: int


FULL: Final = Scale(
    submits=1000,
    clients=1000,
    ticks=50,
    starts=3,
    lives=300,
    lives_alone=50,
    songs=24,
    stored=(1_000, 10_000, 100_000),
    waiting=10_000,
    questions=300,
    growth_submits=300,
    growth_lives=100,
    rounds=3,
    kicks=200,
    race_lives=60,
    race_lives_alone=20,
)
QUICK: Final = Scale(
    submits=100,
    clients=50,
    ticks=5,
    starts=1,
    lives=20,
    lives_alone=5,
    songs=4,
    stored=(200, 2_000),
    waiting=200,
    questions=30,
    growth_submits=50,
    growth_lives=16,
    rounds=1,
    kicks=50,
    race_lives=32,
    race_lives_alone=5,
)
