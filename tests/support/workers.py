"""A separator and a finalizer without a bus, and how much memory their children have held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from services.separator.actor import Separator
from services.separator.children import encode_starter, engine_starter
from services.separator.config import SeparatorConfig
from services.separator.engines import Engines
from services.separator.finalizer import Finalizer
from services.separator.layout import Seat
from shared.blobs import BlobStore, chunk_key, open_store, track_audio_key
from shared.contracts.audio import SAMPLE_RATE, AudioFormat, Metadata, Track
from shared.contracts.facts import Finalized, Prepared, Separated
from shared.contracts.request import Options
from shared.contracts.work import FinalizeWork, PrepareWork, SeparateWork
from shared.separation.identity import track_hash
from tests.support.audio import interleaved, noise
from tests.support.models import plain_demucs, save_package
from tests.support.processes import held_bytes, peak_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from services.separator.messages import EncodeReport, EncodeStems, EngineReport, EngineRequest
    from shared.child import Child
    from shared.contracts.audio import Plan
    from shared.contracts.live import Activity

#: Seconds of noise that the tracks repeat.
PIECE_SECONDS: Final = 10


class Workers:
    """A separator and a finalizer as wiring makes them, and what their children have held."""

    def __init__(self, folder: Path) -> None:
        save_package(plain_demucs(), folder / "models", "plain")
        config = SeparatorConfig(
            blobs_url=f"file://{folder}/blobs",
            scratch_dir=str(folder / "scratch"),
            models_dir=str(folder / "models"),
            fetch_weights=False,
            device=("cpu",),
        )
        self._blobs = folder / "blobs"
        self._start_engine = engine_starter(config, {}, self._say)
        self._start_encoder = encode_starter(config, {}, self._say)
        self.engines = Engines(start=self._engine, seats=[Seat("cpu", 0, 1, 1)], log=self._say)
        self._separator = Separator(
            engines=self.engines, silence=60.0, clock=time.monotonic, log=self._say
        )
        self._finalizer = Finalizer(
            start=self._encoder,
            blobs=BlobStore(open_store(config.blobs_url)),
            scratch=folder / "scratch",
            silence=60.0,
            clock=time.monotonic,
        )
        self._engine_pid = 0
        #: The finalizer's child, while there is one, and the highest peak seen of it, in bytes.
        self._pid = 0
        self._peak = 0
        self.lines: list[str] = []

    def stored(self, seconds: int) -> Track:
        """A track of that length, written without ever being held."""
        piece, named = interleaved(noise(PIECE_SECONDS * SAMPLE_RATE)), track_hash()
        for _ in range(seconds // PIECE_SECONDS):
            named.update(piece)
        name = named.hexdigest()
        path = self._blobs / track_audio_key(name)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            for _ in range(seconds // PIECE_SECONDS):
                file.write(piece)
        return Track(id=name, frames=seconds * SAMPLE_RATE, mean=0.0, std=0.1)

    async def separate(self, track: Track) -> tuple[Plan, int]:
        """All of its chunks; how they were cut, and the engine's highest peak."""
        prepare = PrepareWork(
            job_id=track.id, options=Options(model="plain", stems=("vocals",)), track=track
        )
        prepared = await self._separator.perform(prepare, self._look)
        assert isinstance(prepared, Prepared)
        plan = prepared.plan
        for chunk in range(plan.chunks):
            work = SeparateWork(
                job_id=track.id, unit=str(chunk), run=track.id, chunk=chunk, track=track, plan=plan
            )
            assert isinstance(await self._separator.perform(work, self._look), Separated)
            assert len(self.chunks(track)) == chunk + 1
        return plan, peak_bytes(self._engine_pid)

    async def finalize(self, track: Track, plan: Plan) -> int:
        """Its stem; the finalizer's highest peak."""
        work = FinalizeWork(
            job_id=track.id,
            run=track.id,
            track=track,
            plan=plan,
            attempts=(1,) * plan.chunks,
            format=AudioFormat.FLAC,
            metadata=Metadata(),
        )
        assert isinstance(await self._finalizer.perform(work, self._look), Finalized)
        self._pid = 0
        return self._peak

    def held(self) -> int:
        """What the engine holds now, in bytes."""
        return held_bytes(self._engine_pid)

    def chunks(self, track: Track) -> list[int]:
        """The sizes of its chunks in the store, in bytes."""
        folder = (self._blobs / chunk_key(track.id, 1, 0)).parent
        return [path.stat().st_size for path in folder.iterdir()]

    async def _engine(self, seat: Seat) -> Child[EngineRequest, EngineReport]:
        child = await self._start_engine(seat)
        assert not self._engine_pid, "one engine does it all"
        self._engine_pid = child.pid
        return child

    async def _encoder(self, folder: Path) -> Child[EncodeStems, EncodeReport]:
        child = await self._start_encoder(folder)
        self._pid = child.pid
        return child

    def _look(self, activity: Activity, fraction: float | None = None, note: str = "") -> None:
        """A child has reported: it lives, and can be looked at."""
        assert activity or fraction or note
        if self._pid:
            self._peak = peak_bytes(self._pid)

    def _say(self, line: str) -> None:
        self.lines.append(line)
