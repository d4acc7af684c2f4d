"""What a worker service implements: one piece of work in, one fact out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from shared.contracts.facts import Fact
    from shared.contracts.live import Activity

W = TypeVar("W", contravariant=True)


class Report(Protocol):
    """Says how far a piece of work is; cheap, may be called often (it is throttled) and never waits."""

    def __call__(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        """``fraction`` of the unit is done (None: unknown); ``note`` is for people."""


class Performer(Protocol[W]):
    """The domain half of a worker.

    ``perform`` raises a ``StembusError`` for every failure that it can name.  It is cancelled
    when the job is: it must then leave within two seconds with its children killed.
    """

    async def perform(self, work: W, report: Report) -> Fact | None:
        """Do the work; the fact that follows, or None where nothing does."""
