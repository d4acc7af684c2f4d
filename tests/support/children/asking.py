"""How tests start a child and ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from shared.errors import RetryableError, StembusError
from tests.support.children.obedient import Do, Said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from shared.child import Child, Limits

    Reports = AsyncGenerator[Said, None]

#: Longer than any child here is silent when it is well.
PATIENCE = 20.0


class Starter(Protocol):
    """Starts a child that takes ``Do`` and says ``Said``."""

    async def __call__(
        self,
        *,
        module: str = "obedient",
        lanes: int = 1,
        patience: float = 0.0,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child[Do, Said]:
        """It will be ended when the test is."""


async def ask(child: Child[Do, Said], *request: str | int, silence: float = PATIENCE) -> list[str]:
    """All that it reports on a request."""
    what, text, number = (*request, *("", 0)[len(request) - 1 :])
    return [
        said.text
        async for said in child.ask(Do(str(what), str(text), int(number)), silence=silence)
    ]


async def failure(child: Child[Do, Said], *request: str | int, silence: float = PATIENCE) -> str:
    """Code and detail of the retryable error that it ends with."""
    with pytest.raises(StembusError) as caught:
        await ask(child, *request, silence=silence)
    assert isinstance(caught.value, RetryableError)
    return str(caught.value)


async def begun(child: Child[Do, Said], request: Do, *, silence: float = PATIENCE) -> Reports:
    """The reports on a request after its first: it is under way."""
    reports = child.ask(request, silence=silence)
    await anext(reports)
    return reports


async def rest(reports: Reports) -> list[str]:
    """All that is still said."""
    return [said.text async for said in reports]


async def crash_of(reports: Reports) -> str:
    """What it fails with, in the end."""
    with pytest.raises(RetryableError) as caught:
        await asyncio.wait_for(rest(reports), PATIENCE)
    return str(caught.value)


async def under_way(child: Child[Do, Said], number: int) -> None:
    """Wait until that many requests are."""
    while len(child._reports) != number:  # noqa: ASYNC110 - nobody else wants to know
        await asyncio.sleep(0)
