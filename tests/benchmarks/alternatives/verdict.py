"""What the race's numbers say, in sentences: who is ahead, by how much, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.benchmarks.alternatives.contender import Contender

    #: A contender's numbers, by measure.
    Result = dict[str, float]


class Measure(NamedTuple):
    """One thing that is measured."""

    unit: str
    #: Whether more of it is better.
    more: bool = False


SUBMIT_P50: Final = "job stored, 100/s offered, p50"
SUBMIT_P99: Final = "job stored, 100/s offered, p99"
SUBMITS: Final = "jobs stored, 16 at once"
LIVES: Final = "lives, 16 under way"
ALONE_P50: Final = "a life alone, p50"
ALONE_P99: Final = "a life alone, p99"
CPU: Final = "CPU for a life, all processes"
CLIENT_CPU: Final = "CPU for a life, the client's own"
STORED: Final = "stored for a life"
MEASURES: Final[Mapping[str, Measure]] = {
    SUBMIT_P50: Measure("ms"),
    SUBMIT_P99: Measure("ms"),
    SUBMITS: Measure("jobs/s", more=True),
    LIVES: Measure("jobs/s", more=True),
    ALONE_P50: Measure("ms"),
    ALONE_P99: Measure("ms"),
    CPU: Measure("ms"),
    CLIENT_CPU: Measure("ms"),
    STORED: Measure("writes"),
}
#: Ratios closer to one than this are noise.
_EVEN: Final = 1.1


def sentences(ours: Result, contender: Contender, theirs: Result) -> Iterator[str]:
    """What ``contender`` is, where it is ahead of us, and where it is behind."""
    yield f"**{contender.name}.** {contender.terms}"
    if theirs is ours:
        return
    gains = {name: _gain(name, theirs[name] / ours[name]) for name in theirs}
    if ahead := _listed(gains):
        yield f"**{contender.name} is ahead of Stembus** in {ahead}: {contender.ahead}."
    if behind := _listed({name: 1 / gain for name, gain in gains.items()}):
        yield f"{contender.name} is behind Stembus in {behind}: {contender.behind}."
    if even := [name for name, gain in gains.items() if 1 / _EVEN <= gain <= _EVEN]:
        yield f"{contender.name} and Stembus are even in {'; '.join(even)}."


def _gain(name: str, ratio: float) -> float:
    """How much better a number is than ours; ``ratio`` is theirs by ours."""
    return ratio if MEASURES[name].more else 1 / ratio


def _listed(gains: Mapping[str, float]) -> str:
    return "; ".join(f"{name} ({gain:.1f} times)" for name, gain in gains.items() if gain > _EVEN)
