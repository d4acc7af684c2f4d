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
    #: Submissions to each alternative.
    kicks: int
    #: Lives on each of them, and on Stembus beside them.
    race_lives: int


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
    kicks=500,
    race_lives=300,
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
    kicks=50,
    race_lives=32,
)
