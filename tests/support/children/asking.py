"""How tests start a child and ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from shared.errors import RetryableError, StembusError
from tests.support.children.obedient import Do, Said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.child import Child, Limits

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
