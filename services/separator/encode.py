"""Finalization: a short-lived child process that turns a track's chunks into encoded stems.

Run as ``python -m services.separator.encode`` by ``shared.child``, in a scratch folder of its
own.  Two passes over the chunks: one measures every stem's peaks, so that one gain, the same
for all stems, can keep the loudest from clipping; one encodes.  It never imports torch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.separator.encoders import open_encoders
from services.separator.gather import Gathering
from services.separator.messages import (
    BLOBS_VARIABLE,
    EncodeReport,
    EncodeStems,
    Progressed,
    StemsEncoded,
)
from services.separator.waveform import MIX, PeakMeter, waveforms
from shared.blobs import BlockingBlobs, open_store, peaks_key, stem_key
from shared.child_main import serve
from shared.contracts.audio import AudioFormat, Result, StemFile
from shared.contracts.codec import encode
from shared.contracts.live import Activity
from shared.separation.identity import result_id

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[EncodeReport], None]

#: Shares of the work, about as measured for four flac stems: measuring, encoding, storing.
_MEASURED: Final = 0.15
_ENCODED: Final = 0.95


class StemWriter:
    """Encodes the stems of one track."""

    def __init__(self, *, blobs: BlockingBlobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def handle(self, request: EncodeStems, report: Report) -> None:
        """Do what ``request`` asks and report the result."""
        plan, frames = request.plan, request.plan.frames
        gathering = Gathering(
            blobs=self._blobs, track=request.track, plan=plan, chunk_keys=request.chunk_keys
        )

        def tell(fraction: float) -> None:
            report(Progressed(activity=Activity.ENCODING, fraction=fraction))

        meters = {name: PeakMeter(frames) for name in (MIX, *plan.stems)}
        for block in gathering.blocks():
            meters[MIX].add(block.start, block.mix)
            for stem, samples in block.stems.items():
                meters[stem].add(block.start, samples)
            tell(_MEASURED * (block.start + len(block.mix)) / frames)
        loudest = max(meters[stem].peak for stem in plan.stems)
        floats = request.format is AudioFormat.WAV32F
        gain = 1.0 if floats or loudest <= 1.0 else 1.0 / loudest

        with (
            open_encoders(self._folder, plan.stems, request.format, request.metadata) as encoders,
            # The codecs let go of the interpreter: each stem can have a core of its own.
            ThreadPoolExecutor(max_workers=len(plan.stems)) as pool,
        ):
            for block in gathering.blocks():
                writes = [
                    pool.submit(encoders[stem].write, samples if gain == 1.0 else samples * gain)
                    for stem, samples in block.stems.items()
                ]
                for write in writes:
                    write.result()
                done = (block.start + len(block.mix)) / frames
                tell(_MEASURED + (_ENCODED - _MEASURED) * done)
            for encoder in encoders.values():
                encoder.finish()

        name = result_id(request.track, plan, request.format, request.metadata)
        files: list[StemFile] = []
        for index, stem in enumerate(plan.stems, start=1):
            path = self._folder / f"{stem}.{request.format.extension}"
            self._blobs.put(stem_key(name, stem, request.format.extension), path)
            peak = meters[stem].peak * gain
            files.append(StemFile(name=stem, bytes=path.stat().st_size, peak=peak))
            tell(_ENCODED + (1 - _ENCODED) * index / len(plan.stems))
        self._blobs.put(peaks_key(name), encode(waveforms(meters, frames, gain)))
        result = Result(
            id=name,
            model=plan.model,
            digest=plan.digest,
            format=request.format,
            frames=frames,
            stems=tuple(files),
            gain=gain,
            precision=plan.precision,
        )
        report(StemsEncoded(result=result))


def main() -> None:
    """Serve the parent until it is gone."""
    blobs = BlockingBlobs(open_store(os.environ[BLOBS_VARIABLE]))
    serve(EncodeStems, StemWriter(blobs=blobs, folder=Path.cwd()).handle)


if __name__ == "__main__":
    main()
