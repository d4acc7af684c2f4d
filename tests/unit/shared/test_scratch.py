"""Scratch folders: gone with the work, or by their age."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from shared.scratch import DOWNLOADS, ENCODES, ScratchSweeper, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [None, RuntimeError, asyncio.CancelledError])
async def test_a_folder_goes_however_the_work_ends(
    tmp_path: Path, error: type[BaseException] | None
) -> None:
    async def work() -> None:
        async with scratch_folder(tmp_path / "not" / "yet", DOWNLOADS) as folder:
            (folder / "a").mkdir()
            (folder / "a" / "file").write_bytes(b"x")
            if error is not None:
                raise error

    if error is None:
        await work()
    else:
        with pytest.raises(error):
            await work()
    assert names(tmp_path / "not" / "yet") == []


async def test_whoever_looks_removes_what_is_old(
    tmp_path: Path, log: FilteringBoundLogger, log_lines: LogCapture
) -> None:
    for name in (f"{DOWNLOADS}old", f"{ENCODES}old", f"{ENCODES}young", "separator"):
        (tmp_path / name).mkdir()
        if not name.endswith("young"):
            os.utime(tmp_path / name, (0, 0))
    stopping = asyncio.Event()
    sweeping = asyncio.create_task(ScratchSweeper(tmp_path, log).run(stopping))
    async with asyncio.timeout(5):
        while not log_lines.entries:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.wait_for(sweeping, 5)
    assert names(tmp_path) == [f"{ENCODES}young", "separator"]
    assert [line["folders"] for line in log_lines.entries] == [2]
