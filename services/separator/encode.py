"""Finalization: a short-lived child process that turns a track's chunks into encoded stems.

Run as ``python -m services.separator.encode`` by ``shared.child``, in a scratch folder of its
own.  One pass over the chunks encodes all stems and measures them.  Only where a stem would clip
there is a second one, with one gain for all stems.  It never imports torch.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from services.separator.artwork import artwork_of
from services.separator.encoders import open_encoders
from services.separator.gather import ChunkLostError, Gathering, TrackLostError
from services.separator.loudness import Loudness, TruePeak, decibels
from services.separator.messages import (
    BLOBS_VARIABLE,
    ChunksLost,
    EncodeReport,
    EncodeStems,
    Progressed,
    StemsEncoded,
    TrackLost,
)
from services.separator.remarks import Width, faint
from services.separator.waveform import MIX, PeakMeter, waveforms
from shared.blobs import BlockingBlobs, open_store, peaks_key, stem_key
from shared.child_main import CalledOffError, serve
from shared.contracts.audio import VOCALS, AudioFormat, Remark, Result, StemFile
from shared.contracts.codec import encode
from shared.contracts.live import Activity
from shared.contracts.problem import Problem
from shared.errors import of_os_error
from shared.separation.identity import result_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from shared.separation.stems import Block

    Report = Callable[[EncodeReport], None]

#: Stems that are stored at once.
STORED_AT_ONCE: Final = 2
#: Seconds between signs of life meanwhile.
TELL_SECONDS: Final = 5.0
#: Share of the work that encoding is, as about measured; the rest is storing.
_ENCODED: Final = 0.95
#: What measuring a frame costs of what encoding and measuring it does, about.
_MEASURED: Final = 0.3
#: What the loudest stem is turned down to where one would clip, -1 dBTP: as EBU R 128 has it, so
#: that what a decoder or a converter makes of it doesn't clip, either.
_CEILING: Final = 10 ** (-1 / 20)


class _Signal:
    """Everything that is measured of one stem."""

    def __init__(self, frames: int) -> None:
        self.wave = PeakMeter(frames)
        self.loudness = Loudness()
        self.true_peak = TruePeak()

    def add(self, start: int, samples: NDArray[np.float32]) -> None:
        """``samples``, (frames, channels), come next, from frame ``start``."""
        self.wave.add(start, samples)
        self.loudness.add(samples)
        self.true_peak.add(samples)


class _Progress:
    """How far the work is: never backwards, even where more has to be done than was expected."""

    def __init__(self, report: Report, frames: int) -> None:
        self._report = report
        self._frames = frames
        self._fraction = 0.0
        #: Frames that are still to be encoded; those that are only measured count as fewer.
        self._left = float(frames)
        self._telling = threading.Lock()

    def moved(self, frames: float) -> None:
        """So many frames more have been encoded."""
        self._fraction += (_ENCODED - self._fraction) * min(1.0, frames / max(self._left, 1.0))
        self._left -= frames
        self.tell()

    def again(self) -> None:
        """What is left will only be measured, and then everything encoded."""
        self._left = self._left * _MEASURED + self._frames

    def stored(self, share: float) -> None:
        """That much of the storing is done."""
        self._fraction = _ENCODED + (1 - _ENCODED) * share
        self.tell()

    def tell(self) -> None:
        """Say it, also as a sign of life; any thread may."""
        with self._telling:
            self._report(Progressed(activity=Activity.ENCODING, fraction=self._fraction))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Say it again and again meanwhile: a store takes a large file without a word."""
        done = threading.Event()

        def tell() -> None:
            with suppress(CalledOffError):
                while not done.wait(TELL_SECONDS):
                    self.tell()

        teller = threading.Thread(target=tell)
        teller.start()
        try:
            yield
        finally:
            done.set()
            teller.join()


class StemWriter:
    """Encodes the stems of one track."""

    def __init__(self, *, blobs: BlockingBlobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder

    def handle(self, request: EncodeStems, report: Report) -> None:
        """Do what ``request`` asks and report the result."""
        plan = request.plan
        gathering = Gathering(
            blobs=self._blobs, track=request.track, plan=plan, chunk_keys=request.chunk_keys
        )
        progress = _Progress(report, plan.frames)
        try:
            result = self._result(request, gathering, progress)
        except ChunkLostError as exc:
            found = {exc.chunk: exc}
            for chunk in range(plan.chunks):
                if (lost := gathering.lost(chunk)) is not None:
                    found.setdefault(chunk, lost)
                progress.tell()
            report(ChunksLost(chunks=tuple(sorted(found)), problem=Problem.of(exc.error)))
        except TrackLostError as exc:
            report(TrackLost(problem=Problem.of(exc.error)))
        except OSError as exc:
            raise of_os_error(exc) from exc
        else:
            report(StemsEncoded(result=result))

    def _result(self, request: EncodeStems, gathering: Gathering, progress: _Progress) -> Result:
        """Nothing is stored before everything has been read and verified."""
        plan = request.plan
        wave, loudness, width = PeakMeter(plan.frames), Loudness(), Width()

        def hear(block: Block) -> None:
            wave.add(block.start, block.mix)
            loudness.add(block.mix)
            width.add(block.mix)

        gain = 1.0
        stems = self._encoded(request, gathering, progress, gain, hear)
        loudest = max(stem.true_peak.peak() for stem in stems.values())
        if loudest > 1.0 and request.format is not AudioFormat.WAV32F:
            gain = _CEILING / loudest
            stems = self._encoded(request, gathering, progress, gain)
        name = result_id(request.track, plan, request.format, request.metadata)
        sizes = self._stored(name, request, progress)
        files = (
            StemFile(
                name=stem,
                bytes=size,
                peak=signal.wave.peak,
                loudness=signal.loudness.integrated(),
                true_peak=decibels(signal.true_peak.peak()),
            )
            for (stem, signal), size in zip(stems.items(), sizes, strict=True)
        )
        waves = {MIX: wave, **{stem: signal.wave for stem, signal in stems.items()}}
        self._blobs.put(peaks_key(name), encode(waveforms(waves, plan.frames)))
        return Result(
            id=name,
            model=plan.model,
            digest=plan.digest,
            format=request.format,
            frames=plan.frames,
            stems=tuple(files),
            gain=gain,
            precision=plan.precision,
            loudness=loudness.integrated(),
            remarks=(*width.remarks(plan.model), *_of_vocals(plan.model, loudness, stems, gain)),
        )

    def _stored(self, name: str, request: EncodeStems, progress: _Progress) -> list[int]:
        """Store what was encoded; the size of each stem's file.

        Two at a time: while the disk takes one the next is read.
        """
        stems, extension = request.plan.stems, request.format.extension

        def store(stem: str) -> int:
            path = self._folder / f"{stem}.{extension}"
            self._blobs.put(stem_key(name, stem, extension), path)
            return path.stat().st_size

        sizes: list[int] = []
        with progress.waiting(), ThreadPoolExecutor(STORED_AT_ONCE) as pool:
            for size in pool.map(store, stems):
                sizes.append(size)
                progress.stored(len(sizes) / len(stems))
        return sizes

    def _encoded(
        self,
        request: EncodeStems,
        gathering: Gathering,
        progress: _Progress,
        gain: float,
        hear: Callable[[Block], None] | None = None,
    ) -> dict[str, _Signal]:
        """Encode all stems with ``gain``, and measure what is encoded.

        Without a gain: once a stem is found to clip, the rest is only measured.
        """
        signals = {stem: _Signal(request.plan.frames) for stem in request.plan.stems}
        can_clip = gain == 1.0 and request.format is not AudioFormat.WAV32F
        clips = False
        art = artwork_of(self._blobs, request.metadata.cover)
        with (
            open_encoders(
                self._folder, request.plan.stems, request.format, request.metadata, art
            ) as encoders,
            # The codecs let go of the interpreter: each stem can have a core of its own.
            ThreadPoolExecutor(max_workers=len(signals)) as pool,
        ):

            def take(stem: str, start: int, samples: NDArray[np.float32]) -> float:
                turned = samples if gain == 1.0 else samples * np.float32(gain)
                signals[stem].add(start, turned)
                if not clips:
                    encoders[stem].write(turned)
                return signals[stem].true_peak.so_far

            def settle(takes: list[Future[float]], frames: int) -> None:
                nonlocal clips
                highest = max((one.result() for one in takes), default=0.0)
                progress.moved(frames * (_MEASURED if clips else 1.0))
                if can_clip and not clips and highest > 1.0:
                    clips = True
                    progress.again()

            takes: list[Future[float]] = []
            frames = 0
            for block in gathering.blocks():
                # While a block is encoded, the next one is read.
                settle(takes, frames)
                frames = len(block.mix)
                takes = [
                    pool.submit(take, stem, block.start, samples)
                    for stem, samples in block.stems.items()
                ]
                if hear is not None:
                    hear(block)
            settle(takes, frames)
            if not clips:
                for encoder in encoders.values():
                    encoder.finish()
        return signals


def _of_vocals(
    model: str, song: Loudness, stems: Mapping[str, _Signal], gain: float
) -> tuple[Remark, ...]:
    """``gain`` is what the stems were turned down by; the song was not."""
    if (vocals := stems.get(VOCALS)) is None:
        return ()
    heard = vocals.loudness.integrated()
    return faint(model, song.integrated(), None if heard is None else heard - 20 * log10(gain))


def main() -> None:
    """Serve the parent until it is gone."""
    blobs = BlockingBlobs(open_store(os.environ[BLOBS_VARIABLE]))
    serve(EncodeStems, StemWriter(blobs=blobs, folder=Path.cwd()).handle)


if __name__ == "__main__":
    main()
