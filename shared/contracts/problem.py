"""A failure as it travels: on the bus, in a job's record and over HTTP."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from shared.errors import CATALOGUE, Code, RetryableError, StembusError


class Problem(Struct, frozen=True, kw_only=True):
    """A failure with everything a client needs to show it and to react (RFC 9457's fields)."""

    #: Stable name, for programs.
    code: Code
    #: One sentence, for people.
    title: str
    #: What exactly, this time.
    detail: str = ""
    #: What the user can do.
    hint: str = ""
    #: Whether the same request may succeed later.
    retryable: bool = False
    #: Seconds before a retry makes sense, where the other side said so.
    retry_after: float | None = None

    @classmethod
    def of(cls, error: StembusError) -> Self:
        """The problem that says what ``error`` says."""
        title, hint = CATALOGUE[error.code]
        retryable = isinstance(error, RetryableError)
        return cls(
            code=error.code,
            title=title,
            detail=error.detail,
            hint=hint,
            retryable=retryable,
            retry_after=error.retry_after if isinstance(error, RetryableError) else None,
        )
