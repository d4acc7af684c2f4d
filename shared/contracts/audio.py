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
    """How stems are encoded."""

    FLAC = "flac"
    #: 24 bits; 16 bits; 32-bit float, which never clips.
    WAV = "wav"
    WAV16 = "wav16"
    WAV32F = "wav32f"
    MP3 = "mp3"
    OPUS = "opus"
    M4A = "m4a"

    @property
    def extension(self) -> str:
        """The file's extension."""
        return "wav" if self.value.startswith("wav") else self.value

    @property
    def holds_picture(self) -> bool:
        """Whether its files can bear the song's picture."""
        return self.extension != "wav"

    @property
    def sized(self) -> bool:
        """Whether the length of a file follows from that of the song, whatever it sounds like."""
        return self.extension == "wav"


class Precision(StrEnum):
    """How exactly a model is computed."""

    #: float32 throughout: what demucs computes.
    EXACT = "exact"
    #: Half the bits where the hardware is faster with them (bfloat16, float16, TF32).
    FAST = "fast"


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


class Picture(StrEnum):
    """How a picture is written down; its value is the file's extension."""

    JPEG = "jpg"
    PNG = "png"

    @property
    def media_type(self) -> str:
        """As in a ``Content-Type``."""
        return f"image/{self.name.lower()}"


class Cover(Struct, frozen=True, kw_only=True):
    """A song's picture, in the blob store beside its track."""

    #: The track's id: each source of the same sound may have brought a picture of its own.
    track: str
    #: Hash of its bytes.
    id: str
    picture: Picture
    bytes: int
    #: In pixels, as its header says.
    width: int
    height: int


class Metadata(Struct, frozen=True, kw_only=True):
    """What the source says about itself.  All of it comes from outside: show it as text only."""

    title: str | None = None
    artist: str | None = None
    #: Seconds, as announced; the track's own length is the truth.
    duration: float | None = None
    #: An http(s) address of a picture.
    thumbnail: str | None = None
    #: The picture itself, if there was one to be had.
    cover: Cover | None = None
    #: The page it came from.
    page: str | None = None
    #: The yt-dlp extractor's name, or ``upload``.
    extractor: str | None = None


class Pass(Struct, frozen=True, kw_only=True):
    """One run over the track on a grid of windows; the passes of a plan are averaged.

    Window i starts at frame ``start + i * stride`` and is ``segment`` frames long, or shorter
    where the track ends.  A ``start`` before the track is a shift (``apply_model(shifts=…)``).
    """

    #: Which of the model's networks run, by their place in the bag.
    members: tuple[int, ...]
    #: Window length and window distance in frames.
    segment: int
    stride: int
    #: 0, or up to half a second before the track begins.
    start: int = 0

    def windows(self, frames: int) -> int:
        """Number of windows: one starts at each multiple of the stride before the track's end."""
        return -(-(frames - self.start) // self.stride)


class Plan(Struct, frozen=True, kw_only=True):
    """How one track is cut for one model: decided once by a separator, kept in the job.

    Chunk n is, of every pass, the windows that start at frame ``n * chunk_frames`` up to the
    next chunk's; what starts before the track belongs to chunk 0.  ``chunk_frames`` is no
    shorter than any stride, so no chunk is empty.
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
    #: Track length in frames.
    frames: int
    passes: tuple[Pass, ...]
    #: Distance between two chunks' starts.
    chunk_frames: int
    precision: Precision = Precision.EXACT
    #: Shifts that are averaged: the number of passes of each network; 0: one, unshifted.
    shifts: int = 0

    @property
    def chunks(self) -> int:
        """Number of chunks, the last of which may have fewer windows."""
        last = (one.start + (one.windows(self.frames) - 1) * one.stride for one in self.passes)
        return 1 + max(0, *(start // self.chunk_frames for start in last))


class StemFile(Struct, frozen=True, kw_only=True):
    """One encoded stem in the blob store."""

    name: str
    bytes: int
    #: Largest absolute sample before encoding, 1.0 being full scale.
    peak: float
    #: Integrated loudness in LUFS (ITU-R BS.1770-4); None where there is nothing to be heard.
    loudness: float | None = None
    #: Largest level between samples, too, in dBTP (BS.1770-4 annex 2); None in silence.
    true_peak: float | None = None


class Remark(StrEnum):
    """What a listener should know about a result."""

    #: ``dsp`` finds a voice by its place in the stereo image, and this song has none: it is mono.
    DSP_MONO = "dsp.mono"
    #: ``dsp`` can't tell a voice in the middle from a band in the middle.
    DSP_NARROW = "dsp.narrow"
    #: ``dsp`` found hardly anything in the middle: nobody sings, or somebody who stands elsewhere.
    DSP_FAINT = "dsp.faint"


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
    precision: Precision = Precision.EXACT
    #: Integrated loudness of the original in LUFS.
    loudness: float | None = None
    remarks: tuple[Remark, ...] = ()
