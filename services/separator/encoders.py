"""Stems to files: flac, wav, mp3, opus, m4a, with PyAV's own FFmpeg libraries.

flac and the wavs hold exactly the track's frames.  The others say in their container how much the
codec added at both ends, so that a decoder gives the length back (of a song shorter than
``SHORTEST`` that one).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler

from services.separator.artwork import embed
from shared.contracts.audio import CHANNELS, SAMPLE_RATE, AudioFormat, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from numpy.typing import NDArray

    from services.separator.artwork import Artwork

#: 24-bit full scale, in the upper 24 of the 32 bits that FFmpeg's encoders take.
_FULL_SCALE: Final = float(1 << 23)
_FULL_SCALE_16: Final = float(1 << 15)
#: The dither of every stem begins here: the same samples give the same file.
_DITHER_SEED: Final = 0
#: RF64 where the file grows beyond the 4 GiB that WAV can say.
_RF64: Final[Mapping[str, str]] = MappingProxyType({"rf64": "auto"})
#: Frames that a file has at least whose codec works in blocks: of fewer some make no file, or one
#: that is silent.
SHORTEST: Final = 1024
#: Longest title or artist in a tag.
_TAG_CHARACTERS: Final = 200


class Recipe(NamedTuple):
    """How one format is made."""

    container: str
    codec: str
    #: What the encoder takes; s32 means 24 bits here.
    sample_format: str
    rate: int = SAMPLE_RATE
    bit_rate: int = 0
    container_options: Mapping[str, str] = MappingProxyType({})


RECIPES: Final[Mapping[AudioFormat, Recipe]] = MappingProxyType(
    {
        AudioFormat.FLAC: Recipe("flac", "flac", "s32"),
        AudioFormat.WAV: Recipe("wav", "pcm_s24le", "s32", container_options=_RF64),
        AudioFormat.WAV16: Recipe("wav", "pcm_s16le", "s16", container_options=_RF64),
        AudioFormat.WAV32F: Recipe("wav", "pcm_f32le", "flt", container_options=_RF64),
        AudioFormat.MP3: Recipe("mp3", "libmp3lame", "fltp", bit_rate=320_000),
        # Opus knows no 44.1 kHz.
        AudioFormat.OPUS: Recipe("ogg", "libopus", "flt", rate=48_000, bit_rate=192_000),
        AudioFormat.M4A: Recipe(
            # FFmpeg's "ipod" is this with another brand, and takes no pictures.
            "mp4",
            "aac",
            "fltp",
            bit_rate=256_000,
            container_options=MappingProxyType({"movflags": "+faststart", "brand": "M4A "}),
        ),
    }
)


class StemEncoder:
    """Writes one stem to one file; use it as a context manager."""

    def __init__(
        self,
        path: Path,
        audio_format: AudioFormat,
        tags: Mapping[str, str],
        art: Artwork | None = None,
    ) -> None:
        self._recipe = recipe = RECIPES[audio_format]
        self._container: OutputContainer = av.open(
            str(path),
            "w",
            format=recipe.container,
            container_options=dict(recipe.container_options),
        )
        self._container.metadata.update(tags)
        stream = self._container.add_stream(
            recipe.codec, rate=recipe.rate, layout="stereo", format=recipe.sample_format
        )
        # PyAV's types know the kind of stream only for literal codec names.
        self._stream = cast("AudioStream", stream)
        if recipe.bit_rate:
            self._stream.bit_rate = recipe.bit_rate
        self._resampler = (
            None
            if recipe.rate == SAMPLE_RATE
            else AudioResampler(format=recipe.sample_format, layout="stereo", rate=recipe.rate)
        )
        if art is not None:
            embed(self._container, self._stream, audio_format, art)
        self._dither = np.random.default_rng(_DITHER_SEED)
        self._position = 0

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append ``samples``, (frames, 2); beyond 1.0 all but wav32f clip."""
        frame = self._frame(samples)
        frame.pts = self._position
        self._position += len(samples)
        for ready in [frame] if self._resampler is None else self._resampler.resample(frame):
            self._container.mux(self._stream.encode(ready))

    def finish(self) -> None:
        """Write what the encoder still holds, and the container's end."""
        if self._recipe.bit_rate and self._position < SHORTEST:
            self.write(np.zeros((SHORTEST - self._position, CHANNELS), np.float32))
        if self._resampler is not None:
            for ready in self._resampler.resample(None):
                self._container.mux(self._stream.encode(ready))
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def _frame(self, samples: NDArray[np.float32]) -> av.AudioFrame:
        if self._recipe.sample_format == "s32":
            data = quantized(samples).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(data, format="s32", layout="stereo")
        elif self._recipe.sample_format == "s16":
            short = dithered(samples, self._dither).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(short, format="s16", layout="stereo")
        elif self._recipe.rate == SAMPLE_RATE and self._recipe.sample_format == "flt":
            packed = np.ascontiguousarray(samples).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
        else:
            # Encoders hang or abort over what is far beyond full scale.
            planes = np.ascontiguousarray(np.clip(samples, -1.0, 1.0).T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        return frame


def quantized(samples: NDArray[np.float32]) -> NDArray[np.int32]:
    """``samples`` rounded to 24 bits, in the upper bits of an int32."""
    scaled = np.rint(samples.astype(np.float64) * _FULL_SCALE)
    whole = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int32)
    return np.left_shift(whole, 8)


def dithered(samples: NDArray[np.float32], chance: np.random.Generator) -> NDArray[np.int16]:
    """``samples`` rounded to 16 bits with triangular dither of two steps' width (TPDF).

    It makes the rounding error noise that doesn't follow the music.  Silence stays silence.
    """
    noise = chance.random(samples.shape, np.float32) - chance.random(samples.shape, np.float32)
    scaled = samples * np.float32(_FULL_SCALE_16)
    np.add(scaled, noise, out=scaled, where=samples != 0)
    whole: NDArray[np.int16] = np.clip(np.rint(scaled), -_FULL_SCALE_16, _FULL_SCALE_16 - 1).astype(
        np.int16
    )
    return whole


def tags_of(metadata: Metadata, stem: str) -> dict[str, str]:
    """A file's tags: title and artist as far as they are known, and which stem it is."""
    title, artist = _printable(metadata.title), _printable(metadata.artist)
    tags = {"title": f"{title} ({stem})" if title else stem}
    if artist:
        tags["artist"] = artist
    return tags


def _printable(text: str | None) -> str:
    """A source's own words without what a tag can't hold (NUL, line ends), not too many of them."""
    return "".join(sign for sign in text or "" if sign.isprintable()).strip()[:_TAG_CHARACTERS]


@contextmanager
def open_encoders(
    folder: Path,
    stems: tuple[str, ...],
    audio_format: AudioFormat,
    metadata: Metadata,
    art: Artwork | None = None,
) -> Iterator[dict[str, StemEncoder]]:
    """An encoder for each stem, each into ``<folder>/<stem>.<extension>``."""
    with ExitStack() as stack:
        yield {
            stem: stack.enter_context(
                StemEncoder(
                    folder / f"{stem}.{audio_format.extension}",
                    audio_format,
                    tags_of(metadata, stem),
                    art,
                )
            )
            for stem in stems
        }
