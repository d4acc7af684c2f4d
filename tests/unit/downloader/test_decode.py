"""Decoding every kind of file, and every kind of broken one, in real children."""

from __future__ import annotations

import asyncio
import os
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from services.downloader.children import ChildDecoder
from services.downloader.covers import COVER_BYTES, COVER_PIXELS
from services.downloader.decode import FORMATS, HIGHEST_RATE, handle
from services.downloader.messages import Decoded, DecodeRequest
from services.downloader.pcm import LOUDEST
from shared.errors import Code, StembusError, TerminalError
from tests.support import media
from tests.support.media import damaged, picture, song, write_audio, write_bytes
from tests.support.processes import children_of
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.downloader.config import DownloaderConfig


def cover_beside(path: Path) -> Path:
    """Where the picture of ``path`` is put."""
    return path.with_suffix(".cover")


def decode(path: Path, *, max_seconds: float = 60.0) -> tuple[Decoded, media.Samples]:
    """The child's work, without the child: what it reports, and the (frames, 2) samples."""
    target = path.with_suffix(".f32")
    reports: list[Any] = []
    request = DecodeRequest(
        source=str(path),
        target=str(target),
        cover=str(cover_beside(path)),
        max_seconds=max_seconds,
    )
    handle(request, reports.append)
    decoded = reports[-1]
    assert isinstance(decoded, Decoded)
    samples = np.fromfile(target, "<f4").reshape(-1, 2)
    assert len(samples) == decoded.frames
    return decoded, samples


#: Extension, rate, channels, exact number of frames of two seconds.
LOSSLESS = [
    (".wav", 44_100, 2, 88_200),
    (".flac", 44_100, 2, 88_200),
    (".wav", 44_100, 1, 88_200),
    (".wav", 8_000, 1, 88_200),
    (".flac", 96_000, 2, 88_200),
    (".wav", 22_050, 2, 88_200),
    (".wav", 48_000, 2, 88_200),
]


@pytest.mark.parametrize(("suffix", "rate", "channels", "frames"), LOSSLESS)
def test_lossless_sound_is_kept_to_the_sample(
    tmp_path: Path, suffix: str, rate: int, channels: int, frames: int
) -> None:
    played = song(2.0, rate=rate, channels=channels)
    decoded, samples = decode(write_audio(tmp_path / f"a{suffix}", played, rate=rate))
    expected = song(2.0, channels=channels)
    assert decoded.frames == frames
    assert f"{rate} Hz, {channels} ch" in decoded.original
    # Resampling may differ at the very ends, where there is nothing to interpolate with.
    middle = slice(500, -500)
    both = np.broadcast_to(expected, (2, frames)) if channels == 1 else expected
    np.testing.assert_allclose(samples[middle], both.T[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("rate", "count"), [(48_000, 48_001), (48_000, 12_345), (96_000, 100_003), (11_025, 9_999)]
)
def test_a_resampled_length_is_exact(tmp_path: Path, rate: int, count: int) -> None:
    played = np.full((2, count), 0.25, np.float32)
    decoded, _ = decode(write_audio(tmp_path / "a.wav", played, rate=rate))
    assert decoded.frames == round(count * 44_100 / rate)


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_f32le"])
def test_finer_samples_keep_their_precision(tmp_path: Path, codec: str) -> None:
    played = song(0.5, level=0.0003)
    form = "s32" if codec == "pcm_s24le" else "flt"
    path = write_audio(tmp_path / "a.wav", played, codec=codec, sample_format=form)
    _, samples = decode(path)
    np.testing.assert_allclose(samples, played.T, atol=2**-23)


#: Extension, rate, exact frames of two seconds: MP3 by its LAME tag, Opus by its end trimming;
#: AAC is a whole number of packets behind the encoder's delay, Vorbis' encoder does not trim.
LOSSY = [
    (".mp3", 44_100, 88_200),
    (".mp3", 48_000, 88_200),
    (".opus", 48_000, 88_200),
    (".m4a", 44_100, 89_088),
    (".mkv", 44_100, 89_088),
    (".ogg", 44_100, 88_256),
    (".aac", 44_100, 90_112),
    (".ts", 44_100, 90_112),
]


@pytest.mark.parametrize(("suffix", "rate", "frames"), LOSSY)
def test_lossy_sound_has_the_length_that_ffmpeg_gives_it(
    tmp_path: Path, suffix: str, rate: int, frames: int
) -> None:
    path = write_audio(tmp_path / f"a{suffix}", song(2.0, rate=rate), rate=rate)
    decoded, samples = decode(path)
    assert decoded.frames == frames
    assert 0.25 < float(np.abs(samples[10_000:70_000]).max()) < 0.6


@pytest.mark.parametrize("suffix", [".mp3", ".opus"])
def test_gapless_trimming_puts_the_first_sample_first(tmp_path: Path, suffix: str) -> None:
    rate = 48_000 if suffix == ".opus" else 44_100
    decoded, samples = decode(write_audio(tmp_path / f"a{suffix}", song(2.0, rate=rate), rate=rate))
    expected = song(2.0)[0, : decoded.frames]
    lags = range(-40, 41)
    middle = slice(1000, -1000)
    fits = [float(np.dot(np.roll(expected, lag)[middle], samples[middle, 0])) for lag in lags]
    assert abs(lags[int(np.argmax(fits))]) <= 1


def test_mono_is_as_loud_as_it_was(tmp_path: Path) -> None:
    played = np.full((1, 44_100), 0.5, np.float32)
    _, samples = decode(write_audio(tmp_path / "a.wav", played))
    np.testing.assert_allclose(samples, 0.5, atol=1e-4)


def test_surround_at_full_scale_does_not_clip(tmp_path: Path) -> None:
    played = np.full((6, 44_100), 0.999, np.float32)
    decoded, samples = decode(write_audio(tmp_path / "a.flac", played))
    assert decoded.original == "flac, 44100 Hz, 6 ch"
    assert 0.99 < float(samples.max()) <= 1.0


def test_each_surround_channel_is_heard_where_it_stands(tmp_path: Path) -> None:
    played = np.zeros((6, 44_100), np.float32)
    played[4] = 0.5  # back left
    _, samples = decode(write_audio(tmp_path / "a.flac", played))
    assert float(np.abs(samples[:, 0]).max()) == pytest.approx(
        0.5 * np.sqrt(0.5) / 2.4142, rel=1e-3
    )
    assert not samples[:, 1].any()


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("kind", ["s16", "flt"])
@pytest.mark.parametrize("channels", [3, 4, 7, 8, 9, 12, 16, 24, 64])
def test_as_many_channels_as_there_are_become_two(
    channels: int, kind: str, rate: int, tmp_path: Path
) -> None:
    # Each channel is as long as the song and none is silent: the sides are, only if one is lost.
    played = song(0.5, rate=rate, channels=channels)
    codec = "pcm_f32le" if kind == "flt" else "pcm_s16le"
    layout = f"{channels} channels" if channels > 8 else media.layout_of(channels)
    path = tmp_path / "a.wav"
    write_audio(path, played, rate=rate, codec=codec, sample_format=kind, layout=layout)
    decoded, samples = decode(path)
    assert decoded.frames == 22_050
    assert f"{channels} ch" in decoded.original
    assert 0.01 < float(np.abs(samples).max(axis=0).min()) <= 0.3


@pytest.mark.parametrize("suffix", [".flac", ".mkv"])
def test_seven_one_is_a_song_whatever_it_is_packed_in(suffix: str, tmp_path: Path) -> None:
    played = song(0.5, channels=8)
    path = write_audio(tmp_path / f"a{suffix}", played, layout="7.1")
    decoded, samples = decode(path)
    assert "8 ch" in decoded.original
    assert float(np.abs(samples).max(axis=0).min()) > 0.01


def test_silence_is_a_track_too(tmp_path: Path) -> None:
    decoded, samples = decode(write_audio(tmp_path / "a.wav", np.zeros((2, 4410), np.float32)))
    assert (decoded.frames, decoded.mean, decoded.std) == (4410, 0.0, 0.0)
    assert not samples.any()


@pytest.mark.parametrize("suffix", [".mp3", ".wav"])
def test_a_tenth_of_a_second_is_a_track_too(tmp_path: Path, suffix: str) -> None:
    assert decode(write_audio(tmp_path / f"a{suffix}", song(0.1)))[0].frames == 4410


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_is_its_sound(tmp_path: Path, suffix: str) -> None:
    decoded, _ = decode(media.write_video(tmp_path / f"a{suffix}", song(1.0)))
    assert decoded.original == "aac, 44100 Hz, 2 ch"


#: What is attached, as what, and which of it is taken.
JPEG, PNG = picture("jpg"), picture("png")
HUGE = picture("png", width=1, height=COVER_PIXELS + 1)
PICTURES = {
    "a jpeg": ((JPEG,), "mjpeg", JPEG),
    "a png": ((PNG,), "png", PNG),
    "two": ((PNG, picture("png", seed=1)), "png", PNG),
    "one that is none before one that is": ((b"\xff\xd8\xff" * 9, JPEG), "mjpeg", JPEG),
    "words": ((b"<svg onload=alert(1)>",), "mjpeg", None),
    "half a picture's header": ((JPEG[:40],), "mjpeg", None),
    "too many pixels": ((HUGE,), "png", None),
    "too many bytes": ((PNG + bytes(COVER_BYTES),), "png", None),
}


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a"])
@pytest.mark.parametrize("what", PICTURES)
def test_the_picture_in_a_file_is_kept_and_its_sound_does_not_mind(
    what: str, suffix: str, tmp_path: Path
) -> None:
    attached, codec, expected = PICTURES[what]
    if suffix != ".mp3" and len(attached) > 1:
        pytest.skip("FFmpeg writes a second picture into an MP3 only")
    path = media.write_covered(tmp_path / f"a{suffix}", song(1.0), *attached, codec=codec)
    plain = media.write_covered(tmp_path / f"plain{suffix}", song(1.0))
    assert decode(path)[0].digest == decode(plain)[0].digest
    assert not cover_beside(plain).exists()
    found = cover_beside(path)
    assert (found.read_bytes() if found.exists() else None) == expected


def test_a_film_has_no_picture_of_its_own(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "a.mp4", song(1.0))
    decode(path)
    assert not cover_beside(path).exists()


def test_a_picture_that_can_t_be_kept_is_left_out(tmp_path: Path) -> None:
    path = media.write_covered(tmp_path / "a.mp3", song(1.0), JPEG)
    cover_beside(path).mkdir()
    assert decode(path)[0].frames == 44_100


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_is_not_a_number_stays_where_it_was(tmp_path: Path, rate: int) -> None:
    played = song(0.5, rate=rate)
    played[:, 1000] = np.nan
    played[0, 2000] = np.inf
    _, samples = decode(media.write_float_wav(tmp_path / "a.wav", played, rate=rate))
    assert np.isfinite(samples).all()
    assert float(np.abs(samples).max()) < 0.5
    assert np.abs(samples[800:2200]).max(axis=1).min() >= 0.0


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_what_no_sound_is_as_loud_as_is_silence(tmp_path: Path, channels: int, rate: int) -> None:
    played = song(0.5, rate=rate, channels=channels) * np.float32(2**31)
    played[:, 1000:1003] = np.finfo(np.float32).max
    played[:, 2000] = -1.1 * LOUDEST
    path = tmp_path / "a.wav"
    write_audio(path, played, rate=rate, codec="pcm_f32le", sample_format="flt")
    _, samples = decode(path)
    # As loud as 32 bits can say it is left as it is: what is made of it is turned down.
    assert 1e8 < float(np.abs(samples).max()) < 2**31


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a", ".ogg", ".mkv"])
def test_tags_are_read_wherever_the_format_keeps_them(tmp_path: Path, suffix: str) -> None:
    tags = {"title": "A\u202eTitle", "artist": "Someone"}
    decoded, _ = decode(write_audio(tmp_path / f"a{suffix}", song(0.2), tags=tags))
    assert (decoded.title, decoded.artist) == ("ATitle", "Someone")


def test_statistics_are_those_of_the_samples(tmp_path: Path) -> None:
    decoded, samples = decode(write_audio(tmp_path / "a.flac", song(3.0, level=0.9)))
    mono = samples.mean(axis=1, dtype=np.float64)
    assert decoded.mean == pytest.approx(mono.mean(), abs=1e-12)
    assert decoded.std == pytest.approx(mono.std(ddof=1), abs=1e-12)


def test_the_same_sound_has_the_same_name(tmp_path: Path) -> None:
    wav = write_audio(tmp_path / "a.wav", song(1.0))
    flac = write_audio(tmp_path / "b.flac", song(1.0), tags={"title": "another"})
    digests = {decode(wav)[0].digest, decode(flac)[0].digest}
    assert len(digests) == 1
    assert all(len(digest) == 40 for digest in digests)


@pytest.mark.parametrize(
    ("suffix", "least"), [(".mp3", 0.97), (".flac", 0.95), (".m4a", 0.97), (".ogg", 0.5)]
)
def test_a_few_broken_packets_cost_their_own_sound_only(
    tmp_path: Path, suffix: str, least: float
) -> None:
    whole = write_audio(tmp_path / f"whole{suffix}", song(20.0))
    data = whole.read_bytes()
    places = [len(data) // 3, len(data) // 2]
    broken = write_bytes(tmp_path / f"broken{suffix}", damaged(data, places))
    decoded, samples = decode(broken)
    assert decoded.frames >= least * 882_000
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".wav", ".ogg"])
def test_a_file_cut_short_is_as_long_as_what_is_there(tmp_path: Path, suffix: str) -> None:
    data = write_audio(tmp_path / f"whole{suffix}", song(10.0)).read_bytes()
    cut = write_bytes(tmp_path / f"cut{suffix}", data[: len(data) // 2])
    # An Ogg page holds up to a second, and ends whole or not at all.
    assert 170_000 < decode(cut)[0].frames < 240_000


def _no_frames(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
    return path


def _cut_m4a(path: Path) -> Path:
    data = write_audio(path.with_suffix(".m4a"), song(5.0)).read_bytes()
    return write_bytes(path, data[: len(data) // 2])  # its index is at the end


HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%s\n#EXT-X-ENDLIST\n"
#: A name, what is written, the code.
BAD = [
    ("empty.mp3", b"", Code.SOURCE_EMPTY),
    ("no-frames.wav", _no_frames, Code.SOURCE_EMPTY),
    ("silent-film.mp4", lambda p: media.write_video(p, None), Code.SOURCE_NO_AUDIO_STREAM),
    ("cut.mp4", _cut_m4a, Code.SOURCE_NOT_AUDIO),
    ("text.mp3", b"These are words, not sounds.\n" * 400, Code.SOURCE_NOT_AUDIO),
    ("picture.mp3", b"\x89PNG\r\n\x1a\n" + bytes(200), Code.SOURCE_NOT_AUDIO),
    ("zeros.mp3", bytes(100_000), Code.SOURCE_NOT_AUDIO),
    ("hls-file.mp3", HLS % b"file:///etc/passwd", Code.SOURCE_NOT_AUDIO),
    ("hls-file.m3u8", HLS % b"file:///etc/passwd", Code.SOURCE_NOT_AUDIO),
    ("concat.mp3", b"ffconcat version 1.0\nfile '/etc/passwd'\n", Code.SOURCE_NOT_AUDIO),
    ("concat.ffconcat", b"ffconcat version 1.0\nfile good.wav\n", Code.SOURCE_NOT_AUDIO),
    (
        "dash.mpd",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"/>',
        Code.SOURCE_NOT_AUDIO,
    ),
    ("session.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n", None),
]


@pytest.mark.parametrize(("name", "content", "code"), BAD)
def test_what_cannot_be_decoded_says_why(
    tmp_path: Path, name: str, content: bytes | Callable[[Path], Path], code: Code | None
) -> None:
    write_audio(tmp_path / "good.wav", song(0.1))
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    with pytest.raises(TerminalError) as caught:
        decode(path)
    assert caught.value.code is (code or Code.SOURCE_NOT_AUDIO)
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("name", ["list.mp3", "list.m3u8", "list.wav"])
def test_a_playlist_makes_nobody_ask_for_anything(tmp_path: Path, site: Site, name: str) -> None:
    segment = f"{site.base}/media/hls/part0.ts".encode()
    before = len(site.asked)
    with pytest.raises(TerminalError):
        decode(write_bytes(tmp_path / name, HLS % segment))
    assert len(site.asked) == before


def test_no_format_that_names_other_files_is_let_in() -> None:
    referring = {"hls", "applehttp", "concat", "dash", "image2", "lavfi", "sdp", "rtsp", "imf"}
    assert not referring & set(FORMATS.split(","))


def test_a_track_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TerminalError) as caught:
        decode(write_audio(tmp_path / "a.wav", song(3.0)), max_seconds=2.0)
    assert caught.value.code is Code.SOURCE_TOO_LONG


def test_a_rate_that_blows_up_a_file_is_refused(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "a.wav", song(1.0)).read_bytes()
    slow = at_rate(data, 1)  # half a day
    with pytest.raises(TerminalError) as caught:
        decode(write_bytes(tmp_path / "slow.wav", slow))
    assert caught.value.code is Code.SOURCE_TOO_LONG


@pytest.mark.parametrize("rate", [HIGHEST_RATE + 1, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused_and_named(tmp_path: Path, rate: int) -> None:
    data = write_audio(tmp_path / "a.wav", song(1.0)).read_bytes()
    with pytest.raises(TerminalError) as caught:
        decode(write_bytes(tmp_path / "fast.wav", at_rate(data, rate)))
    assert caught.value.code is Code.SOURCE_NOT_AUDIO
    assert str(rate) in caught.value.detail


def test_the_highest_rate_is_a_short_song(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "a.wav", song(2.0)).read_bytes()
    decoded, _ = decode(write_bytes(tmp_path / "fast.wav", at_rate(data, HIGHEST_RATE)))
    assert decoded.frames == round(88_200 * 44_100 / HIGHEST_RATE)


def at_rate(wav: bytes, rate: int) -> bytes:
    """A WAV file whose header says another rate."""
    return wav[:24] + rate.to_bytes(4, "little") + wav[28:]


def test_a_file_that_changes_is_named_by_its_beginning(tmp_path: Path) -> None:
    parts = [
        write_audio(tmp_path / f"{rate}.mp3", song(2.0, rate=rate), rate=rate).read_bytes()
        for rate in (44_100, 48_000)
    ]
    decoded, _ = decode(write_bytes(tmp_path / "both.mp3", b"".join(parts)))
    assert decoded.original == "mp3, 44100 Hz, 2 ch"
    assert decoded.frames == pytest.approx(4 * 44_100, rel=0.05)


async def test_a_child_decodes_and_tells_how_far_it_is(
    decoder: ChildDecoder, tmp_path: Path
) -> None:
    source = write_audio(tmp_path / "a.mp3", song(240.0))
    seen: list[tuple[float, float | None]] = []
    decoded = await decoder.decode(
        source,
        target=tmp_path / "a.f32",
        cover=tmp_path / "cover",
        moving=lambda *said: seen.append(said),
    )
    assert decoded.frames == 240 * 44_100
    assert (tmp_path / "a.f32").stat().st_size == 240 * 44_100 * 8
    assert len(seen) >= 2
    assert seen == sorted(seen)
    assert all(share == pytest.approx(seconds / 240, abs=0.01) for seconds, share in seen)


async def test_a_child_says_what_is_wrong_with_a_file(
    decoder: ChildDecoder, tmp_path: Path
) -> None:
    source = write_bytes(tmp_path / "a.mp3", HLS % b"file:///etc/passwd")
    with pytest.raises(TerminalError) as caught:
        await decoder.decode(
            source, target=tmp_path / "a.f32", cover=tmp_path / "cover", moving=lambda *_: None
        )
    assert caught.value.code is Code.SOURCE_NOT_AUDIO


async def test_a_child_keeps_to_its_memory(config: DownloaderConfig, tmp_path: Path) -> None:
    tight = msgspec.structs.replace(config, decode_memory_bytes=24 << 20)
    decoder = ChildDecoder(config=tight, on_line=lambda _: None)
    source = write_audio(tmp_path / "a.flac", song(1.0))
    with pytest.raises(StembusError) as caught:
        await decoder.decode(
            source, target=tmp_path / "a.f32", cover=tmp_path / "cover", moving=lambda *_: None
        )
    assert caught.value.code in {Code.WORKER_OUT_OF_MEMORY, Code.WORKER_CRASHED}


async def test_a_cancelled_decoder_is_gone_within_two_seconds(
    decoder: ChildDecoder, tmp_path: Path
) -> None:
    source = write_audio(tmp_path / "a.wav", song(300.0))
    before = children_of(os.getpid())
    moved = asyncio.Event()
    task = asyncio.create_task(
        decoder.decode(
            source,
            target=tmp_path / "a.f32",
            cover=tmp_path / "cover",
            moving=lambda *_: moved.set(),
        )
    )
    await moved.wait()
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 2
    assert children_of(os.getpid()) == before
