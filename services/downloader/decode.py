"""The decoding child process: any media file in, canonical PCM out.  For hostile input."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from services.downloader.attached import attached_picture
from services.downloader.core import clean_text
from services.downloader.messages import Decoded, DecodeRequest, Decoding
from services.downloader.pcm import Writer, audible, downmix_matrix
from shared.child_main import serve
from shared.contracts.audio import CHANNELS, SAMPLE_RATE
from shared.errors import Code, RetryableError, StembusError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer

    from services.downloader.messages import DecodeReport
    from services.downloader.pcm import Samples

#: Containers that hold sound and nothing but their own bytes.  Left out are those that name
#: other files or addresses (hls, dash, concat, image2, rtsp, sdp, imf …), devices (lavfi, alsa),
#: and the games' and the broadcasters' formats: every demuxer is an attack surface.
FORMATS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,"
    "mp3,mpc,mpc8,mpeg,mpegts,ogg,oma,rm,tak,tta,voc,w64,wav,wv"
)
_OPTIONS: Final = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
#: The first of a container's names to the extension of a file with sound only.
_EXTENSIONS: Final = {"matroska": "mka", "mov": "m4a", "mpegts": "ts", "asf": "wma", "rm": "ra"}
#: Broken packets that are skipped: so many, or so large a share if that is more.
BROKEN_PACKETS: Final = 50
BROKEN_SHARE: Final = 0.05
#: The highest sampling rate that is believed: DSD1024 comes as 5.6 MHz.
HIGHEST_RATE: Final = 6_000_000
#: Reading errors in a row after which the file is taken to end there.
_READ_ERRORS: Final = 10
#: Seconds between two reports.
_PACE: Final = 0.1


def handle(request: DecodeRequest, report: Callable[[DecodeReport], None]) -> None:
    """Decode one file; ends with a ``Decoded`` report or a ``StembusError``."""
    source = Path(request.source)
    if source.stat().st_size == 0:
        raise TerminalError(Code.SOURCE_EMPTY, "a file of no bytes")
    try:
        with av.open(str(source), options=_OPTIONS, metadata_errors="replace") as container:
            decoded = Decode(container, request, report).run()
        _keep_picture(source, Path(request.cover))
        report(decoded)
    except (StembusError, MemoryError):
        raise
    except OSError as exc:
        raise _disk_error(exc) from exc
    except (av.FFmpegError, ValueError) as exc:
        raise _not_audio(exc) from exc


def _keep_picture(source: Path, target: Path) -> None:
    """Write the picture in the file's tags to ``target``; it is not worth a song."""
    try:
        with av.open(str(source), options=_OPTIONS, metadata_errors="replace") as container:
            picture = attached_picture(container)
        if picture is not None:
            target.write_bytes(picture)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as exc:
        print(f"its picture is left out: {exc}", flush=True)  # noqa: T201 - the parent logs what the child prints


class Decode:
    """One file's way into canonical PCM."""

    def __init__(
        self,
        container: InputContainer,
        request: DecodeRequest,
        report: Callable[[DecodeReport], None],
    ) -> None:
        self._container = container
        self._request = request
        self._report = report
        self._packets = 0
        self._broken = 0
        self._position = 0
        self._reported = 0.0
        #: Rate and channels that it begins with.
        self._first = ""

    def run(self) -> Decoded:
        """Decode all of it."""
        stream = self._choose()
        with Path(self._request.target).open("wb") as file:
            writer = Writer(file)
            section: _Section | None = None
            for frame in self._frames(stream):
                if section is None or not section.suits(frame):
                    if section is None:
                        self._first = f"{frame.sample_rate} Hz, {frame.layout.nb_channels} ch"
                    else:
                        section.end()
                    section = _Section(frame, writer)
                section.add(frame)
                self._check_length(writer.frames)
                self._tell(writer.frames, stream)
            if section is not None:
                section.end()
            writer.finish()
        self._check_damage()
        if writer.frames == 0:
            raise TerminalError(Code.SOURCE_EMPTY, "no sound in the file's audio stream")
        return self._decoded(stream, writer)

    def _choose(self) -> AudioStream:
        """The best audio stream by FFmpeg's reckoning; pictures and video are no concern."""
        stream = self._container.streams.best("audio")
        if stream is None:
            # FFmpeg takes many things for sound; what has neither rate nor channels is none.
            if self._container.streams.audio or not self._container.streams:
                raise TerminalError(Code.SOURCE_NOT_AUDIO, "nothing in it that can be played")
            raise TerminalError(Code.SOURCE_NO_AUDIO_STREAM)
        if not isinstance(stream, av.AudioStream) or stream.codec_context is None:
            raise TerminalError(Code.SOURCE_NOT_AUDIO, "a codec that is not known here")
        # One thread: the service runs several decoders, and sound decodes fast enough.
        stream.codec_context.thread_count = 1
        return stream

    def _frames(self, stream: AudioStream) -> Iterator[AudioFrame]:
        """Every decodable frame.  A broken packet costs its own sound only."""
        failures = 0
        while failures < _READ_ERRORS:
            packets = self._container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except MemoryError:
                    raise
                except av.FFmpegError:
                    # The generator is spent, the file is not: go on behind the damage.
                    failures += 1
                    self._broken += 1
                    break
                if packet is None:
                    return
                failures = 0
                self._packets += 1
                self._position = max(self._position, packet.pos or 0)
                try:
                    frames = packet.decode()
                except MemoryError:
                    raise
                except av.FFmpegError:
                    self._broken += 1
                    continue
                yield from frames

    def _check_length(self, frames: int) -> None:
        if frames > self._request.max_seconds * SAMPLE_RATE:
            detail = f"more than {self._request.max_seconds:.0f} s"
            raise TerminalError(Code.SOURCE_TOO_LONG, detail)

    def _check_damage(self) -> None:
        if self._broken > max(BROKEN_PACKETS, BROKEN_SHARE * self._packets):
            detail = f"{self._broken} of its {self._packets} packets are broken"
            raise TerminalError(Code.SOURCE_NOT_AUDIO, detail)

    def _tell(self, frames: int, stream: AudioStream) -> None:
        now = time.monotonic()
        if now - self._reported < _PACE:
            return
        self._reported = now
        seconds = frames / SAMPLE_RATE
        length = _seconds(self._container, stream)
        if length is not None:
            fraction: float | None = seconds / length
        elif self._position and self._container.size > 0:
            fraction = self._position / self._container.size
        else:
            fraction = None
        if fraction is not None:
            fraction = min(fraction, 1.0)
        self._report(Decoding(seconds=seconds, fraction=fraction))

    def _decoded(self, stream: AudioStream, writer: Writer) -> Decoded:
        name = self._container.format.name.partition(",")[0]
        tags = {
            key.lower(): value
            for tagged in (stream.metadata, self._container.metadata)
            for key, value in tagged.items()
        }
        return Decoded(
            digest=writer.digest,
            frames=writer.frames,
            mean=writer.moments.mean,
            std=writer.moments.std,
            original=f"{stream.codec_context.codec.canonical_name}, {self._first}",
            extension=_EXTENSIONS.get(name, name),
            title=clean_text(tags.get("title")),
            artist=clean_text(tags.get("artist")) or clean_text(tags.get("album_artist")),
        )


class _Section:
    """Frames of one format in a row; a stream may change its rate or its channels midway."""

    def __init__(self, first: AudioFrame, writer: Writer) -> None:
        if not 0 < first.sample_rate <= HIGHEST_RATE:
            detail = f"{first.sample_rate} samples a second"
            raise TerminalError(Code.SOURCE_NOT_AUDIO, detail)
        self._format = first.format.name
        self._layout = first.layout.name
        self._rate = first.sample_rate
        names = [channel.name for channel in first.layout.channels]
        # Stereo needs no arithmetic.
        self._matrix = downmix_matrix(names) if len(names) != CHANNELS else None
        self._channels = len(names)
        # Where samples mix with others, one that is not a number would spoil its neighbours.
        mixes = first.sample_rate != SAMPLE_RATE or len(names) > CHANNELS
        # Packed, all channels in one plane: PyAV reads past the planes of more than seven.
        packed = "dbl" if first.format.name.startswith("dbl") else "flt"
        floats = first.format.name.rstrip("p") == packed
        self._packer = (
            AudioResampler(packed, first.layout.name, self._rate) if mixes and floats else None
        )
        # Channels stay as they are here: swresample would turn mono down.
        self._resampler = AudioResampler("flt", first.layout.name, SAMPLE_RATE)
        self._writer = writer
        self._start = writer.frames
        self._read = 0

    def suits(self, frame: AudioFrame) -> bool:
        """Whether ``frame`` is of the same format."""
        described = (frame.format.name, frame.layout.name, frame.sample_rate)
        return described == (self._format, self._layout, self._rate)

    def add(self, frame: AudioFrame) -> None:
        """Convert and write one frame."""
        self._read += frame.samples
        # Timestamps with gaps would make the filters insert or drop samples.
        frame.pts = None
        for one in [frame] if self._packer is None else self._packer.resample(frame):
            clean = one if self._packer is None else _mended(one)
            clean.pts = None
            self._write(self._resampler.resample(clean))

    def end(self) -> None:
        """Write what the resampler still holds; the length is then exact."""
        if self._rate != SAMPLE_RATE:
            self._write(self._resampler.resample(None))
        wanted = (self._read * SAMPLE_RATE + self._rate // 2) // self._rate
        self._writer.settle(self._start + wanted)

    def _write(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            block: Samples = np.asarray(frame.to_ndarray(), np.float32)
            block = block.reshape(-1, self._channels)
            self._writer.add(block if self._matrix is None else block @ self._matrix)


def _mended(frame: AudioFrame) -> AudioFrame:
    """A packed ``frame`` without what a resampler would spread over its neighbours."""
    samples: Any = frame.to_ndarray()  # of floats: whoever calls has looked
    mended = audible(samples)
    if mended is samples:
        return frame
    clean = AudioFrame.from_ndarray(mended, format=frame.format.name, layout=frame.layout.name)
    clean.sample_rate = frame.sample_rate
    return clean


def _seconds(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _disk_error(exc: OSError) -> StembusError:
    match exc.errno:
        case errno.EFBIG:
            return TerminalError(Code.SOURCE_TOO_LONG, "its PCM is larger than allowed")
        case errno.ENOSPC | errno.EDQUOT:
            return RetryableError(Code.STORAGE_FULL, "the scratch folder")
        case _:
            # FFmpeg's reading errors are OSErrors too: the file, not the disk, is at fault.
            return _not_audio(exc)


def _not_audio(exc: Exception) -> StembusError:
    # Without the path, which is nobody's business.
    detail = exc.strerror if isinstance(exc, av.FFmpegError | OSError) else str(exc)
    return TerminalError(Code.SOURCE_NOT_AUDIO, clean_text(detail) or "")


if __name__ == "__main__":
    serve(DecodeRequest, handle)
