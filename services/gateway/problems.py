"""Failures over HTTP: RFC 9457 problem documents, with the status each code stands for."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from services.gateway.actor import RefusedError
from services.gateway.guard import BEGUN
from shared.contracts.codec import encode
from shared.contracts.problem import Problem
from shared.errors import Code, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler, Middleware
    from structlog.typing import FilteringBoundLogger

#: Codes that a request can be answered with; any other is about a job, not about a request.
STATUS: Final[Mapping[Code, int]] = MappingProxyType(
    {
        Code.REQUEST_MALFORMED: 400,
        Code.SOURCE_STALLED: 408,
        Code.REQUEST_FORBIDDEN: 403,
        Code.ROUTE_NOT_FOUND: 404,
        Code.JOB_NOT_FOUND: 404,
        Code.BATCH_NOT_FOUND: 404,
        Code.STEM_NOT_FOUND: 404,
        Code.PIECE_NOT_READY: 404,
        Code.COVER_NOT_FOUND: 404,
        Code.BLOB_MISSING: 404,
        Code.METHOD_NOT_ALLOWED: 405,
        Code.JOB_WRONG_STATE: 409,
        Code.JOB_EXISTS: 409,
        Code.BATCH_WRONG_STATE: 409,
        Code.JOB_REMOVED: 410,
        Code.REQUEST_TOO_LARGE: 413,
        Code.REQUEST_UNACCEPTABLE: 415,
        Code.RANGE_NOT_SATISFIABLE: 416,
        Code.SOURCE_NOT_A_URL: 422,
        Code.SOURCE_SCHEME: 422,
        Code.SOURCE_EMPTY: 422,
        Code.SOURCE_UPLOAD_MISSING: 422,
        Code.MODEL_UNKNOWN: 422,
        Code.MODEL_NO_SUCH_STEM: 422,
        Code.KEY_REUSED: 422,
        Code.BATCH_EMPTY: 422,
        Code.BATCH_TOO_LONG: 422,
        Code.QUEUE_FULL: 429,
        Code.QUEUE_OWNER_FULL: 429,
        Code.SERVICE_UNAVAILABLE: 503,
        Code.STORAGE_UNAVAILABLE: 503,
        Code.STORAGE_FULL: 507,
        Code.STORAGE_LOW: 507,
    }
)
#: Statuses that say when to come again; seconds where nobody knows better.
_COME_AGAIN: Final = frozenset({429, 503})
RETRY_AFTER: Final = 5.0
#: What aiohttp itself refuses, in our words.
_OF_AIOHTTP: Final = MappingProxyType(
    {
        404: Code.ROUTE_NOT_FOUND,
        405: Code.METHOD_NOT_ALLOWED,
        413: Code.REQUEST_TOO_LARGE,
        415: Code.REQUEST_UNACCEPTABLE,
    }
)


class Document(Struct, frozen=True, kw_only=True):
    """The body of an error answer: RFC 9457's members, and ours."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    hint: str
    retryable: bool


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that says ``problem``."""
    status = STATUS.get(problem.code, 500)
    document = Document(
        type=f"urn:stembus:{problem.code.value}",
        title=problem.title,
        status=status,
        detail=problem.detail,
        code=problem.code,
        hint=problem.hint,
        retryable=problem.retryable,
    )
    more = {"Retry-After": _retry_after(problem)} if status in _COME_AGAIN else {}
    return web.Response(
        status=status,
        body=encode(document),
        content_type="application/problem+json",
        headers={**more, **(headers or {})},
    )


def _retry_after(problem: Problem) -> str:
    seconds = RETRY_AFTER if problem.retry_after is None else problem.retry_after
    return str(max(1, math.ceil(seconds)))


def middleware(log: FilteringBoundLogger) -> Middleware:
    """Turns every failure into a problem document; the gateway's one place that catches all."""

    @web.middleware
    async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (StembusError, RefusedError) as exc:
            problem = exc.problem if isinstance(exc, RefusedError) else Problem.of(exc)
            if request.get(BEGUN):  # a second answer would become part of the first
                log.warning("answer broken off", path=request.path, reason=problem.code)
                raise ConnectionResetError from exc
            return answer(problem)
        except web.HTTPException as exc:
            if exc.status < 400:  # noqa: PLR2004 - a redirect is no failure
                raise
            code = _OF_AIOHTTP.get(exc.status, Code.REQUEST_MALFORMED)
            allow = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
            return answer(Problem.of(TerminalError(code, exc.reason)), allow)
        except (ConnectionError, TimeoutError):
            if request.transport is None or request.transport.is_closing():
                return web.Response()  # to nobody: who has hung up is no fault to be logged
            raise
        except Exception:  # a bug: the client gets a code, the log the traceback
            log.exception("request failed", method=request.method, path=request.path)
            if request.get(BEGUN):
                raise ConnectionResetError from None
            return answer(Problem.of(TerminalError(Code.INTERNAL)))

    return problems
