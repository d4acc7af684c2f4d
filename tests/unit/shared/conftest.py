"""Real children for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.child import Child, Limits
from shared.contracts.codec import Decoder
from tests.support.children.obedient import LANES_VARIABLE, Do, Said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.children.asking import Starter


@pytest.fixture
def lines() -> list[str]:
    """What the children print."""
    return []


@pytest.fixture
async def start(tmp_path: Path, lines: list[str]) -> AsyncIterator[Starter]:
    started: list[Child[Do, Said]] = []

    async def start(
        *,
        module: str = "obedient",
        lanes: int = 1,
        patience: float = 0.0,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child[Do, Said]:
        child: Child[Do, Said] = await Child.start(
            f"tests.support.children.{module}",
            reports=Decoder(Said),
            cwd=tmp_path,
            on_line=lines.append,
            limits=limits,
            environment={LANES_VARIABLE: str(lanes), **(environment or {})},
            patience=patience,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        await child.kill()
