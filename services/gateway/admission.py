"""What submissions of jobs and of batches have in common: an id, an owner, terms, options."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from services.gateway.actor import RefusedError
from services.gateway.options import admit_options
from services.gateway.projection import BATCH
from services.gateway.requests import (
    MAX_BATCH_ID,
    MAX_JOB_ID,
    admit_id,
    admit_key,
    admit_owner,
    admit_terms,
    id_of_key,
)
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from aiohttp import web

    from services.gateway.catalogue import Catalogue
    from services.gateway.projection import Projection
    from services.gateway.requests import Wishes
    from shared.contracts.request import Options, Terms

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
#: Bytes of randomness in an id of ours: nobody guesses it, two never meet.
ID_BYTES: Final = 8


class Submission(NamedTuple):
    """A submission that can be passed on."""

    id: str
    options: Options
    terms: Terms
    #: Whether its id was made of an ``Idempotency-Key``.
    keyed: bool
    #: Whether its id is known: it has come before, or is somebody else's.
    again: bool


class Admission:
    """Admits submissions, or says what is wrong with them."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        projection: Projection,
        owner_header: str,
        now: Callable[[], datetime],
    ) -> None:
        self._catalogue = catalogue
        self._projection = projection
        self._owner_header = owner_header
        self._now = now

    def admit(self, request: web.Request, asked: Wishes, kind: str) -> Submission:
        """The submission of a ``job`` or ``batch``.

        One that has come before is not refused for what has changed meanwhile (its deadline, the
        models there are): its answer is the job that it has become.
        """
        told = request.headers.getall(self._owner_header, []) if self._owner_header else []
        owner = admit_owner(asked.owner, self._owner_header, told)
        key = admit_key(request.headers.getall(IDEMPOTENCY_KEY, []))
        submission_id = self._id(asked, owner, key, MAX_BATCH_ID if kind == BATCH else MAX_JOB_ID)
        again = self._projection.knows(kind, submission_id)
        complete = self._catalogue.complete and not again
        return Submission(
            submission_id,
            admit_options(asked.options, self._catalogue.offers(), complete=complete),
            admit_terms(asked, owner, self._now(), again=again),
            keyed=key is not None,
            again=again,
        )

    @staticmethod
    def _id(asked: Wishes, owner: str, key: str | None, longest: int) -> str:
        if key is not None and asked.id is not None:
            detail = f"give an id or an {IDEMPOTENCY_KEY}, not both"
            raise TerminalError(Code.REQUEST_MALFORMED, detail)
        if key is not None:
            return id_of_key(owner, key)
        return secrets.token_hex(ID_BYTES) if asked.id is None else admit_id(asked.id, longest)


@contextmanager
def in_words_of(submission: Submission) -> Iterator[None]:
    """Where the id was made of a key, a refusal of the id is one of the key."""
    try:
        yield
    except RefusedError as exc:
        if submission.keyed and exc.problem.code is Code.JOB_EXISTS:
            raise TerminalError(Code.KEY_REUSED, submission.id) from exc
        raise
