"""What went wrong, why, and what can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from services.cli.plain import plain
from services.cli.times import duration

if TYPE_CHECKING:
    from services.cli.answers import ApiError, ProblemBody
    from shared.contracts.problem import Problem


def problem_text(problem: Problem | ProblemBody, about: str = "") -> Text:
    """An error's title, detail and hint; ``about`` says which of several had it."""
    text = Text()
    if about:
        text.append(f"{plain(about)}: ")
    text.append(plain(problem.title), style="bold red")
    if problem.detail:
        text.append(f"\n  {plain(problem.detail)}")
    if problem.hint:
        text.append(f"\n  {plain(problem.hint)}", style="dim")
    return text


def refusal_text(error: ApiError, about: str = "") -> Text:
    """Why the server refused, and when it may not any more."""
    text = problem_text(error.problem, about)
    if error.busy and error.retry_after is not None:
        text.append(f"\n  Try again in {duration(error.retry_after)}.")
    return text
