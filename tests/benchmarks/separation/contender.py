"""Somebody who separates songs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from shared.contracts.audio import Precision

    #: The files of a song's stems, by name.
    Stems = dict[str, Path]


class Setting(NamedTuple):
    """What a contender works with."""

    #: Folder with the model, and its name.
    models: Path
    model: str
    #: Its own, empty: for its state, its logs and the stems.
    folder: Path
    workers: int
    #: Cores of the machine; shared out among the workers.
    cores: int
    precision: Precision
    #: As torch names it.
    device: str = "cpu"

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, self.cores // self.workers)


class Running(Protocol):
    """A contender that can be given songs."""

    async def separate(self, songs: Sequence[Path]) -> list[Stems]:
        """Separate as many songs as there are workers, at the same time."""


class Contender(Protocol):
    """Somebody who can be started; all processes are descendants of this one."""

    def running(self, setting: Setting) -> AbstractAsyncContextManager[Running]:
        """Started, and gone afterwards."""
