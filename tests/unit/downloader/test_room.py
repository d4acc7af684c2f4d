"""Room on the disk: begun only while there is some, and again when there is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from services.downloader import room as room_module
from services.downloader.config import DownloaderConfig
from services.downloader.room import RoomWatch
from services.downloader.wiring import free
from shared.errors import Code

if TYPE_CHECKING:
    from structlog.testing import LogCapture
    from structlog.typing import FilteringBoundLogger


@pytest.mark.parametrize(
    ("measured", "least", "ailment"),
    [
        (100, 100, None),
        (99, 100, Code.STORAGE_LOW),
        (0, 100, Code.STORAGE_LOW),
        (None, 100, None),
        (0, 0, None),
    ],
)
async def test_less_than_there_must_be_is_an_ailment(
    log: FilteringBoundLogger, measured: int | None, least: int, ailment: Code | None
) -> None:
    watch = RoomWatch(lambda: measured, least=least, log=log)
    assert watch.ailment() is None
    await watch.look()
    assert watch.ailment() is ailment


async def test_it_passes_by_itself_and_each_change_is_said_once(
    log: FilteringBoundLogger, log_lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "BEAT_SECONDS", 0.001)
    measures = [5, 4, 3, 50, 60]
    stopping = asyncio.Event()
    ailments: list[Code | None] = []

    def measure() -> int:
        ailments.append(watch.ailment())
        if len(measures) == 1:
            stopping.set()
        return measures.pop(0)

    watch = RoomWatch(measure, least=10, log=log)
    await asyncio.wait_for(watch.run(stopping), 5)
    assert ailments == [None, *[Code.STORAGE_LOW] * 3, None]
    assert [line["event"] for line in log_lines.entries] == [
        "too little room: no song is begun",
        "there is room again",
    ]


def test_the_scratch_folder_and_a_local_store_are_measured(tmp_path: Path) -> None:
    config = DownloaderConfig(scratch_dir=str(tmp_path), blobs_url=f"file://{tmp_path}/blobs")
    here = free(config)
    assert here is not None
    assert here > 0
    elsewhere = msgspec.structs.replace(config, blobs_url="s3://bucket/prefix")
    assert free(elsewhere) is not None
