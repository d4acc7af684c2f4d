"""Tracks, separation plans and results: what is known about audio without touching it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

#: The canonical track's rate in Hz, and its channels: every published demucs model's own.
SAMPLE_RATE: Final = 44_100
CHANNELS: Final = 2
#: Bytes of one frame: two interleaved little-endian float32 samples.
FRAME_BYTES: Final = 4 * CHANNELS
#: The derived stem: mix - vocals, so that it and ``vocals`` add up to the original.
INSTRUMENTAL: Final = "instrumental"
VOCALS: Final = "vocals"


class AudioFormat(StrEnum):
    """How stems are encoded; the value is also the file's extension."""

    FLAC = "flac"
    WAV = "wav"
    MP3 = "mp3"
    OPUS = "opus"
    M4A = "m4a"


class Track(Struct, frozen=True, kw_only=True):
    """A canonical track in the blob store: 44.1 kHz stereo float32, interleaved."""

    #: Hash of the PCM; the blobs lie under ``tracks/<id>/``.
    id: str
    #: Length in frames (one sample of each channel).
    frames: int
    #: Mean and (unbiased) standard deviation of the mono mix, as demucs normalizes by them.
    mean: float
    std: float
    #: Codec, rate and channels of the source, for people: ``mp3, 48000 Hz, 2 ch``.
    original: str = ""
    #: Bytes of its blobs, as far as the one who stored them said.
    stored_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / SAMPLE_RATE


class Metadata(Struct, frozen=True, kw_only=True):
    """What the source says about itself.  All of it comes from outside: show it as text only."""

    title: str | None = None
    artist: str | None = None
    #: Seconds, as announced; the track's own length is the truth.
    duration: float | None = None
    #: An http(s) address of a picture.
    thumbnail: str | None = None
    #: The page it came from.
    page: str | None = None
    #: The yt-dlp extractor's name, or ``upload``.
    extractor: str | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """How one track is cut for one model: decided once by a separator, kept in the job.

    Window i starts at frame ``i * stride`` and is ``segment`` frames long (the last ones are
    cut off by the track's end).  Chunk n is windows ``n * windows_per_chunk`` up to the next.
    """

    model: str
    #: Identifies the weights and code that made it, so that two separators can't mix models.
    digest: str
    #: The model's sources, in its own order.
    sources: tuple[str, ...]
    #: The sources that chunks compute and store, in the model's order: what ``stems`` needs.
    computed: tuple[str, ...]
    #: The stems that the job delivers, in the order they are shown.
    stems: tuple[str, ...]
    #: Track length, window length and window distance in frames.
    frames: int
    segment: int
    stride: int
    windows_per_chunk: int

    @property
    def windows(self) -> int:
        """Number of windows: one starts at each multiple of the stride inside the track."""
        return -(-self.frames // self.stride)

    @property
    def chunks(self) -> int:
        """Number of chunks, the last of which may have fewer windows."""
        return -(-self.windows // self.windows_per_chunk)


class StemFile(Struct, frozen=True, kw_only=True):
    """One encoded stem in the blob store."""

    name: str
    bytes: int
    #: Largest absolute sample before encoding, 1.0 being full scale.
    peak: float


class Result(Struct, frozen=True, kw_only=True):
    """A finished separation in the blob store, under ``results/<id>/``."""

    #: Hash of (track, model digest, parameters).
    id: str
    model: str
    digest: str
    format: AudioFormat
    frames: int
    stems: tuple[StemFile, ...]
    #: The gain that was applied to every stem alike, so that none clips; 1.0 nearly always.
    gain: float = 1.0
