"""Media files for tests, made with PyAV: every kind that people send, and the broken ones."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Disposition
from av.video.frame import VideoFrame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

#: Codec and the sample format that it encodes, by extension.
_CODECS = {
    ".mp3": ("libmp3lame", "fltp"),
    ".ogg": ("vorbis", "fltp"),
    ".opus": ("libopus", "flt"),
    ".m4a": ("aac", "fltp"),
    ".aac": ("aac", "fltp"),
    ".flac": ("flac", "s16"),
    ".wav": ("pcm_s16le", "s16"),
    ".ts": ("aac", "fltp"),
    ".mp4": ("aac", "fltp"),
    ".mkv": ("aac", "fltp"),
}
#: Samples of one frame that is handed to an encoder.
_FRAME = 1024


def song(
    seconds: float = 1.0, *, rate: int = 44_100, channels: int = 2, level: float = 0.3
) -> Samples:
    """(channels, samples) of tones, another one in each channel, with a beat on top."""
    time = np.arange(round(seconds * rate)) / rate
    beat = 0.6 + 0.4 * np.cos(2 * np.pi * 2 * time)
    tones = [np.sin(2 * np.pi * 220 * (1 + i / 4) * time) * beat for i in range(channels)]
    return (level * np.stack(tones)).astype(np.float32)


def layout_of(channels: int) -> str:
    """FFmpeg's name of the usual layout with so many channels."""
    usual = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
    return usual[channels - 1]


def write_audio(
    path: Path,
    samples: Samples,
    *,
    rate: int = 44_100,
    codec: str | None = None,
    sample_format: str | None = None,
    tags: dict[str, str] | None = None,
    layout: str | None = None,
) -> Path:
    """Encode (channels, samples) into ``path``; its extension chooses container and codec."""
    usual_codec, usual_format = _CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream: Any = container.add_stream(codec or usual_codec, rate=rate)
        stream.layout = layout or layout_of(len(samples))
        stream.format = sample_format or usual_format
        stream.codec_context.options = {"strict": "experimental"}  # for FFmpeg's own vorbis
        _encode(container, stream, samples, rate)
    return path


def _encode(container: Any, stream: Any, samples: Samples, rate: int) -> None:  # noqa: ANN401 - PyAV's unions
    # PyAV reads past the planes of eight channels; what is packed it takes apart itself.
    name = (stream.format if len(samples) < 8 else stream.format.packed).name
    for start in range(0, samples.shape[1], _FRAME):
        part = np.ascontiguousarray(samples[:, start : start + _FRAME])
        frame = AudioFrame.from_ndarray(_converted(part, name), name, stream.layout.name)
        frame.sample_rate = rate
        frame.pts = start
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _converted(part: Samples, name: str) -> Any:  # noqa: ANN401 - PyAV takes five types of arrays
    scale, kind = {
        "s16": (32_768.0, np.int16),
        "s32": (2_147_483_648.0, np.int32),
        "flt": (1.0, np.float32),
    }[name.rstrip("p")]
    planes = part if scale == 1.0 else np.rint(part.astype(np.float64) * scale)
    top = np.inf if scale == 1.0 else scale - 1
    planes = np.clip(planes, -np.inf if scale == 1.0 else -scale, top).astype(kind)
    return planes if name.endswith("p") else planes.T.reshape(1, -1).copy()


def write_video(path: Path, samples: Samples | None, *, frames: int = 10) -> Path:
    """A small grey film of ``frames`` pictures, with sound if there is some."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound: Any = None
        if samples is not None:
            sound = container.add_stream(_CODECS[path.suffix][0], rate=44_100)
            sound.layout = layout_of(len(samples))
        for number in range(frames):
            picture = VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if samples is not None:
            _encode(container, sound, samples, 44_100)
    return path


def picture(kind: str = "jpg", *, width: int = 32, height: int = 24, seed: int = 0) -> bytes:
    """A coloured picture, ``jpg`` or ``png``."""
    codec, layout = {"jpg": ("mjpeg", "yuvj420p"), "png": ("png", "rgb24")}[kind]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, layout
    encoder.time_base = Fraction(1, 25)
    frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=layout)
    return b"".join(bytes(packet) for one in (frame, None) for packet in encoder.encode(one))


def write_covered(path: Path, samples: Samples, *pictures: bytes, codec: str = "mjpeg") -> Path:
    """An MP3, FLAC or M4A with pictures attached, as shops sell them, whatever their bytes are."""
    form = {".m4a": "mp4"}.get(path.suffix)
    with av.open(str(path), "w", format=form) as container:
        usual_codec, usual_format = _CODECS[path.suffix]
        sound: Any = container.add_stream(usual_codec, rate=44_100)
        sound.layout, sound.format = layout_of(len(samples)), usual_format
        streams = [container.add_mux_stream(codec, width=16, height=16) for _ in pictures]
        for stream, data in zip(streams, pictures, strict=True):
            stream.disposition = Disposition.attached_pic
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            packet.time_base = Fraction(1, 90_000)
            container.mux(packet)
        _encode(container, sound, samples, 44_100)
    return path


def attached_pictures(file: Path | BytesIO) -> list[bytes]:
    """The pictures that a player finds in a file."""
    with av.open(file if isinstance(file, BytesIO) else str(file), "r") as container:
        return [
            bytes(packet)
            for packet in container.demux()
            if packet.stream.disposition & Disposition.attached_pic and packet.size
        ]


def write_float_wav(path: Path, samples: Samples, *, rate: int = 44_100) -> Path:
    """A WAV of 32-bit floats: the only common kind that can hold NaN."""
    return write_audio(path, samples, rate=rate, codec="pcm_f32le", sample_format="flt")


def write_bytes(path: Path, data: bytes) -> Path:
    """A file of just these bytes."""
    path.write_bytes(data)
    return path


def damaged(data: bytes, places: Sequence[int], *, length: int = 300) -> bytes:
    """``data`` with noise over ``length`` bytes at each of ``places``."""
    noise = np.random.default_rng(7).integers(0, 256, length, np.uint8).tobytes()
    spoilt = bytearray(data)
    for place in places:
        spoilt[place : place + length] = noise
    return bytes(spoilt)


def write_hls(folder: Path, samples: Samples, *, parts: int = 4) -> Path:
    """An HLS playlist with ``parts`` MPEG-TS segments in ``folder``; the playlist's path."""
    folder.mkdir(parents=True, exist_ok=True)
    playlist = folder / "playlist.m3u8"
    options = {
        "hls_time": str(samples.shape[1] / 44_100 / parts),
        "hls_list_size": "0",
        "hls_playlist_type": "vod",
        "hls_segment_filename": str(folder / "part%d.ts"),
    }
    with av.open(str(playlist), "w", format="hls", options=options) as container:
        stream: Any = container.add_stream("aac", rate=44_100)
        stream.layout = layout_of(len(samples))
        _encode(container, stream, samples, 44_100)
    return playlist
