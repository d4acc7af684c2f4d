"""From chunks to files: lengths, sums, gain, tags, peaks."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import msgspec
import numpy as np
import pytest

from services.downloader.covers import COVER_BYTES, cover_of
from services.separator import encode
from services.separator.encode import StemWriter
from services.separator.encoders import SHORTEST, quantized
from services.separator.messages import (
    ChunksLost,
    EncodeReport,
    EncodeStems,
    Progressed,
    StemsEncoded,
    TrackLost,
)
from services.separator.waveform import PeakMeter, Waveforms
from shared.blobs import track_cover_key
from shared.contracts.audio import AudioFormat, Metadata, Pass, Plan, Remark, Result
from shared.errors import Code, RetryableError, TerminalError
from shared.separation.spans import BLOCK_FRAMES, header_of, pack_span
from shared.separation.windows import (
    output_span,
    pass_weight,
    stride_frames,
    triangle,
    window_span,
    windows_of,
)
from tests.support.audio import Audio, heard_of, silence, song, stored_track, tone
from tests.support.media import attached_pictures, picture

if TYPE_CHECKING:
    from shared.blobs import BlockingBlobs

SEGMENT = 40000
DRUMS_SHARE = np.float32(0.25)
METADATA = Metadata(title="Hëllo\0 <b>", artist="Somebody")


class Encoded(NamedTuple):
    """What an encoding gave."""

    result: Result
    blobs: BlockingBlobs
    told: list[float]
    waveforms: Waveforms

    def file(self, stem: str) -> bytes:
        key = f"results/{self.result.id}/{stem}.{self.result.format.extension}"
        return self.blobs.get_range(key, 0, self.blobs.size(key))

    def seconds(self, stem: str) -> float:
        """The stem's length, as its container says."""
        with av.open(io.BytesIO(self.file(stem))) as container:
            stream = container.streams.audio[0]
            return float((stream.duration or 0) * (stream.time_base or 0))

    def decoded(self, stem: str) -> Audio:
        return decode(self.file(stem))


def decode(data: bytes) -> Audio:
    """All samples, (frames, 2), whatever the format."""
    with av.open(io.BytesIO(data), "r") as container:
        pieces = []
        for frame in container.decode(audio=0):
            array = frame.to_ndarray()
            if not frame.format.is_planar:
                array = array.reshape(-1, 2).T
            if array.dtype.kind == "i":
                array = array.astype(np.float64) / 2.0 ** (8 * array.itemsize - 1)
            pieces.append(array)
        return np.concatenate(pieces, axis=1).T.astype(np.float32)


def plan_of(frames: int, stems: tuple[str, ...], per_chunk: int = 2) -> Plan:
    return Plan(
        model="made",
        digest="d",
        sources=("drums", "vocals"),
        computed=("drums", "vocals"),
        stems=stems,
        frames=frames,
        passes=(Pass(members=(0,), segment=SEGMENT, stride=stride_frames(SEGMENT)),),
        chunk_frames=per_chunk * stride_frames(SEGMENT),
    )


def chunks_of(plan: Plan, normalized: Audio) -> list[Audio]:
    """What chunks store of sources that are the same in every window, (2, frames, 2) each."""
    (one,) = plan.passes
    weight = triangle(one.segment)
    chunks = []
    for chunk in range(plan.chunks):
        whole = output_span(plan, chunk)
        own = np.zeros(whole.frames, np.float32)
        for window in windows_of(plan, chunk, one):
            span = window_span(plan, one, window)
            own[span.start - whole.start : span.end - whole.start] += weight[: span.frames]
        share = own / pass_weight(plan, one, whole)
        chunks.append(normalized[:, whole.start : whole.end] * share[:, None])
    return chunks


def order(
    blobs: BlockingBlobs,
    mix: Audio,
    vocals: Audio,
    audio_format: AudioFormat = AudioFormat.FLAC,
    stems: tuple[str, ...] = ("drums", "vocals", "instrumental"),
) -> EncodeStems:
    """A track whose model found exactly ``vocals``, and drums that are a quarter of the mix."""
    track = stored_track(blobs, mix)
    plan = plan_of(len(mix), stems)
    mean, scale = np.float32(track.mean), np.float32(track.std + 1e-8)
    sources = np.stack((mix * DRUMS_SHARE, vocals))
    keys = []
    for chunk, sums in enumerate(chunks_of(plan, (sources - mean) / scale)):
        keys.append(f"work/j/1/chunk-{chunk}")
        header = header_of(plan, chunk)
        blobs.put(keys[-1], pack_span(header, sums, heard_of(mix, header.span)))
    return EncodeStems(
        track=track, plan=plan, chunk_keys=tuple(keys), format=audio_format, metadata=METADATA
    )


def encoded(request: EncodeStems, blobs: BlockingBlobs, folder: Path) -> Encoded:
    reports: list[EncodeReport] = []
    folder.mkdir(exist_ok=True)
    StemWriter(blobs=blobs, folder=folder).handle(request, reports.append)
    (done,) = [one for one in reports if isinstance(one, StemsEncoded)]
    assert reports[-1] == done
    told = [one.fraction for one in reports if isinstance(one, Progressed)]
    key = f"results/{done.result.id}/peaks.json"
    data = blobs.get_range(key, 0, blobs.size(key))
    waves = msgspec.json.decode(data, type=Waveforms)
    return Encoded(done.result, blobs, [one or 0.0 for one in told], waves)


@pytest.mark.parametrize("audio_format", [AudioFormat.FLAC, AudioFormat.WAV])
@pytest.mark.parametrize("frames", [1, 5, 4607, SEGMENT, BLOCK_FRAMES + 1, 150_001])
def test_lossless_stems_have_the_tracks_length_and_add_up_to_it(
    audio_format: AudioFormat, frames: int, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    made = song(frames / 44100 + 0.01)
    mix, vocals = made.mix[:frames], made.vocals[:frames]
    got = encoded(order(blobs, mix, vocals, audio_format), blobs, tmp_path / "scratch")
    assert got.result.gain == 1.0
    stems = {stem: got.decoded(stem) for stem in ("drums", "vocals", "instrumental")}
    assert {len(one) for one in stems.values()} == {frames}
    np.testing.assert_allclose(mix, stems["vocals"] + stems["instrumental"], atol=2.0**-22)
    np.testing.assert_allclose(vocals, stems["vocals"], atol=2e-6)
    np.testing.assert_allclose(mix * DRUMS_SHARE, stems["drums"], atol=2e-6)


@pytest.mark.parametrize("audio_format", [AudioFormat.MP3, AudioFormat.OPUS, AudioFormat.M4A])
@pytest.mark.parametrize("frames", [4410, 100_001])
def test_lossy_stems_decode_to_the_tracks_length_and_sound(
    audio_format: AudioFormat, frames: int, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    mix = tone(frames, 440.0) + tone(frames, 3000.0, level=0.1, pan=0.2)
    vocals = tone(frames, 440.0)
    got = encoded(order(blobs, mix, vocals, audio_format), blobs, tmp_path / "scratch")
    vocals_out = got.decoded("vocals")
    rate = 48000 if audio_format is AudioFormat.OPUS else 44100
    expected = round(frames * rate / 44100)
    # FFmpeg's decoder leaves the padding of AAC's last frame on; players heed the duration.
    surplus = 1024 if audio_format is AudioFormat.M4A else 1
    assert expected - 1 <= len(vocals_out) <= expected + surplus
    # FFmpeg counts Opus's pre-skip, 6.5 ms, into the duration and decodes without it.
    assert got.seconds("vocals") == pytest.approx(frames / 44100, abs=0.0066)
    time = np.arange(len(vocals_out)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * time)
    middle = slice(len(wave) // 4, 3 * len(wave) // 4)
    # In phase with the original: the codec's delay was taken off again.
    assert np.abs(vocals_out[middle, 0] - wave[middle]).max() < 0.03


@pytest.mark.parametrize("audio_format", list(AudioFormat))
@pytest.mark.parametrize("frames", [1, 2, 3, 10, 100, SHORTEST - 1, SHORTEST])
def test_the_shortest_song_can_be_heard_in_every_format(
    frames: int, audio_format: AudioFormat, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    loud = np.full((frames, 2), 0.5, np.float32)
    got = encoded(order(blobs, loud, loud, audio_format), blobs, tmp_path / "scratch")
    heard = got.decoded("vocals")
    lossy = audio_format in {AudioFormat.MP3, AudioFormat.OPUS, AudioFormat.M4A}
    assert len(heard) >= SHORTEST if lossy else len(heard) == frames
    assert np.abs(heard).max() > 0.01


@pytest.mark.parametrize("audio_format", list(AudioFormat))
@pytest.mark.parametrize("level", [30.0, 2e9, 1e10])
def test_a_song_far_beyond_full_scale_is_turned_down_and_harms_no_encoder(
    level: float, audio_format: AudioFormat, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    mix = tone(3 * BLOCK_FRAMES, 440.0, level=level)
    request = order(blobs, mix, mix, audio_format, stems=("vocals",))
    got = encoded(request, blobs, tmp_path / "scratch")
    heard = float(np.abs(got.decoded("vocals")).max())
    if audio_format is AudioFormat.WAV32F:
        assert heard == pytest.approx(level, rel=0.1)
    else:
        assert 0.7 < heard <= 1.0
    assert got.result.stems[0].loudness is None or got.result.gain < 1.0


def covered(request: EncodeStems, blobs: BlockingBlobs, data: bytes) -> EncodeStems:
    """The same with a picture, which is in the store."""
    cover = cover_of(request.track.id, data)
    assert cover is not None
    blobs.put(track_cover_key(cover), data)
    return msgspec.structs.replace(
        request, metadata=msgspec.structs.replace(request.metadata, cover=cover)
    )


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_a_files_picture_is_the_songs_and_its_sound_does_not_mind(
    audio_format: AudioFormat, kind: str, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    made, data = song(0.5), picture(kind, width=200, height=100)
    plain = order(blobs, made.mix, made.vocals, audio_format, ("vocals", "drums"))
    got = encoded(covered(plain, blobs, data), blobs, tmp_path / "scratch")
    without = encoded(plain, blobs, tmp_path / "plain")
    holds = audio_format.holds_picture
    for stem in ("vocals", "drums"):
        assert attached_pictures(io.BytesIO(got.file(stem))) == ([data] if holds else [])
        np.testing.assert_array_equal(got.decoded(stem), without.decoded(stem))
        assert got.seconds(stem) == without.seconds(stem)
    assert (got.result.id == without.result.id) == (not holds)


def test_a_large_picture_fits_every_file(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(0.5)
    data = picture("png")
    data += bytes(COVER_BYTES - len(data))
    for audio_format in filter(lambda one: one.holds_picture, AudioFormat):
        plain = order(blobs, made.mix, made.vocals, audio_format, ("vocals",))
        got = encoded(covered(plain, blobs, data), blobs, tmp_path / audio_format)
        assert attached_pictures(io.BytesIO(got.file("vocals"))) == [data], audio_format


@pytest.mark.parametrize("fate", ["lost", "another", "cut off"])
def test_a_picture_that_is_lost_or_damaged_is_left_out(
    fate: str, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    made, data = song(0.5), picture()
    request = covered(order(blobs, made.mix, made.vocals), blobs, data)
    assert request.metadata.cover is not None
    key = track_cover_key(request.metadata.cover)
    if fate == "lost":
        (tmp_path / "blobs" / key).unlink()
    else:
        blobs.put(key, data[:-1] if fate == "cut off" else picture(seed=1))
    got = encoded(request, blobs, tmp_path / "scratch")
    assert attached_pictures(io.BytesIO(got.file("vocals"))) == []
    assert len(got.decoded("vocals")) == len(made.mix)


def test_a_stem_that_is_turned_down_keeps_its_picture(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made, data = song(0.5), picture()
    request = covered(order(blobs, made.mix * 9, made.vocals * 9), blobs, data)
    got = encoded(request, blobs, tmp_path / "scratch")
    assert got.result.gain < 1
    assert attached_pictures(io.BytesIO(got.file("vocals"))) == [data]


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_a_file_says_what_it_is(
    audio_format: AudioFormat, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    made = song(0.5)
    request = order(blobs, made.mix, made.vocals, audio_format, ("vocals",))
    got = encoded(request, blobs, tmp_path / "scratch")
    with av.open(io.BytesIO(got.file("vocals"))) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
    tags = {key.lower(): value for key, value in tags.items()}
    assert tags["title"] == "Hëllo <b> (vocals)"
    assert tags["artist"] == "Somebody"
    assert [len(got.file("vocals"))] == [one.bytes for one in got.result.stems]


def test_one_gain_for_all_stems_where_one_would_clip(blobs: BlockingBlobs, tmp_path: Path) -> None:
    mix, vocals = tone(60_000, 300.0, level=0.5), tone(60_000, 300.0, level=-1.5)
    got = encoded(order(blobs, mix, vocals), blobs, tmp_path / "scratch")
    assert got.result.gain == pytest.approx(0.5 * 10 ** (-1 / 20), rel=1e-2)
    stems = {stem: got.decoded(stem) for stem in ("drums", "vocals", "instrumental")}
    gain = got.result.gain
    np.testing.assert_allclose(mix * gain, stems["vocals"] + stems["instrumental"], atol=1e-6)
    np.testing.assert_allclose(mix * gain * DRUMS_SHARE, stems["drums"], atol=1e-6)
    peaks = {one.name: one.peak for one in got.result.stems}
    assert peaks["instrumental"] == pytest.approx(10 ** (-1 / 20), rel=1e-2)
    assert peaks["vocals"] == pytest.approx(0.75 * peaks["instrumental"], rel=1e-3)
    levels = {one.name: one.true_peak or 0.0 for one in got.result.stems}
    assert levels["instrumental"] == pytest.approx(-1.0, abs=1e-3)
    assert max(levels.values()) == levels["instrumental"]
    assert got.told == sorted(got.told)
    assert got.told[-1] == pytest.approx(1.0)


def test_what_would_clip_between_samples_only_is_turned_down(
    blobs: BlockingBlobs, tmp_path: Path
) -> None:
    # A quarter of the rate, an eighth of a turn late: samples at 0.78, the wave between at 1.1.
    wave = 1.1 * np.sin(np.pi / 2 * np.arange(30_000) + np.pi / 4) * np.hanning(30_000)
    loud = np.stack((wave, wave), axis=1).astype(np.float32)
    got = encoded(order(blobs, loud, loud, stems=("vocals",)), blobs, tmp_path / "scratch")
    assert np.abs(loud).max() < 0.8
    assert got.result.gain == pytest.approx(10 ** (-1 / 20) / 1.1, rel=1e-2)
    assert got.result.stems[0].true_peak == pytest.approx(-1.0, abs=1e-3)


def test_what_would_not_clip_is_left_as_it_is(blobs: BlockingBlobs, tmp_path: Path) -> None:
    loud = tone(60_000, 300.0, level=0.99)
    got = encoded(order(blobs, loud, loud, stems=("vocals",)), blobs, tmp_path / "scratch")
    assert got.result.gain == 1.0
    np.testing.assert_allclose(loud, got.decoded("vocals"), atol=2e-6)


def test_a_result_says_how_loud_everything_is(blobs: BlockingBlobs, tmp_path: Path) -> None:
    mix, nothing = tone(5 * 44100, 1000.0, level=10 ** (-23 / 20)), silence(5 * 44100)
    got = encoded(order(blobs, mix, nothing, stems=("drums", "vocals")), blobs, tmp_path / "s")
    assert got.result.loudness == pytest.approx(-23.0, abs=0.1)
    drums, vocals = got.result.stems
    assert drums.loudness == pytest.approx(-23.0 + 20 * np.log10(DRUMS_SHARE), abs=0.1)
    assert drums.true_peak == pytest.approx(-23.0 + 20 * np.log10(DRUMS_SHARE), abs=0.2)
    assert vocals.loudness is None


@pytest.mark.parametrize(("model", "expected"), [("dsp", (Remark.DSP_MONO,)), ("made", ())])
def test_a_result_says_what_its_model_can_t_do(
    model: str, expected: tuple[Remark, ...], blobs: BlockingBlobs, tmp_path: Path
) -> None:
    mono = tone(50_000, 440.0)
    request = order(blobs, mono, mono)
    plan = msgspec.structs.replace(request.plan, model=model)
    got = encoded(msgspec.structs.replace(request, plan=plan), blobs, tmp_path / "scratch")
    assert got.result.remarks == expected


@pytest.mark.parametrize(("below", "expected"), [(18.0, ()), (23.0, (Remark.DSP_FAINT,))])
@pytest.mark.parametrize("level", [0.3, 2.0])
def test_how_faint_vocals_are_is_told_before_anything_is_turned_down(
    below: float, expected: tuple[Remark, ...], level: float, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    mix = tone(100_000, 440.0, level=level, pan=0.2)
    vocals = mix * np.float32(10 ** (-below / 20))
    request = order(blobs, mix, vocals)
    plan = msgspec.structs.replace(request.plan, model="dsp")
    got = encoded(msgspec.structs.replace(request, plan=plan), blobs, tmp_path / "scratch")
    assert (got.result.gain < 1.0) is (level > 1.0)
    assert got.result.remarks == expected


def test_silence_is_encoded_as_silence(blobs: BlockingBlobs, tmp_path: Path) -> None:
    nothing = silence(50_000)
    got = encoded(order(blobs, nothing, nothing), blobs, tmp_path / "scratch")
    assert all(np.abs(got.decoded(one.name)).max() == 0 for one in got.result.stems)
    assert got.result.gain == 1.0
    assert set(got.waveforms.stems["vocals"]) == {0.0}


def test_peaks_are_those_of_the_files(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(3.0)
    got = encoded(order(blobs, made.mix, made.vocals), blobs, tmp_path / "scratch")
    waves = got.waveforms
    assert list(waves.stems) == ["mix", "drums", "vocals", "instrumental"]
    assert waves.seconds == 3.0
    edges = np.arange(waves.points + 1) * len(made.mix) // waves.points
    for stem, audio in (("mix", made.mix), ("vocals", got.decoded("vocals"))):
        loudest = np.abs(audio).max(axis=1)
        expected = [loudest[a:b].max() for a, b in pairwise(edges)]
        np.testing.assert_allclose(expected, waves.stems[stem], atol=6e-4)


@pytest.mark.parametrize("frames", [1, 7, 1499, 1500, 1501, 4000])
@pytest.mark.parametrize("block", [1, 3, 700, 5000])
def test_peaks_do_not_depend_on_the_blocks(frames: int, block: int) -> None:
    audio = np.random.default_rng(3).normal(0, 0.1, (frames, 2)).astype(np.float32)
    whole, pieces = PeakMeter(frames), PeakMeter(frames)
    whole.add(0, audio)
    for start in range(0, frames, block):
        pieces.add(start, audio[start : start + block])
    assert whole.drawn() == pieces.drawn()
    assert pieces.peak == pytest.approx(np.abs(audio).max())
    assert len(pieces.drawn()) == min(1500, frames)


def test_progress_only_grows_and_reaches_the_end(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(4.0)
    got = encoded(order(blobs, made.mix, made.vocals), blobs, tmp_path / "scratch")
    assert got.told == sorted(got.told)
    assert got.told[-1] == pytest.approx(1.0)


def test_a_store_that_takes_its_time_is_no_silence(
    blobs: BlockingBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = song(0.5)
    request = order(blobs, made.mix, made.vocals)
    reports: list[EncodeReport] = []
    put = blobs.put

    def slow(key: str, data: bytes | Path) -> None:
        before = len(reports)
        while isinstance(data, Path) and len(reports) < before + 3:  # it has said that it lives
            time.sleep(0.001)
        put(key, data)

    monkeypatch.setattr(encode, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(blobs, "put", slow)
    StemWriter(blobs=blobs, folder=tmp_path).handle(request, reports.append)
    told = [one.fraction or 0.0 for one in reports if isinstance(one, Progressed)]
    assert told == sorted(told)
    assert isinstance(reports[-1], StemsEncoded)


def test_a_store_that_is_away_is_waited_for_and_costs_no_picture(
    blobs: BlockingBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = song(0.5)
    request = covered(order(blobs, made.mix, made.vocals), blobs, picture())
    get_range = blobs.get_range

    def away(key: str, start: int, end: int) -> bytes:
        if "cover" in key:
            raise RetryableError(Code.STORAGE_UNAVAILABLE, key)
        return get_range(key, start, end)

    monkeypatch.setattr(blobs, "get_range", away)
    with pytest.raises(RetryableError):
        encoded(request, blobs, tmp_path / "scratch")


def damage(blobs: BlockingBlobs, key: str, at: int) -> None:
    data = bytearray(blobs.get_range(key, 0, blobs.size(key)))
    data[at] ^= 4
    blobs.put(key, bytes(data))


def lost(request: EncodeStems, blobs: BlockingBlobs, folder: Path) -> ChunksLost:
    """What an encoding says that fails for its chunks; nothing of it is delivered."""
    reports: list[EncodeReport] = []
    folder.mkdir()
    StemWriter(blobs=blobs, folder=folder).handle(request, reports.append)
    (said,) = [one for one in reports if not isinstance(one, Progressed)]
    assert isinstance(said, ChunksLost)
    assert not list((folder.parent / "blobs").glob("results/*/*"))
    return said


#: In the magic word, in the header's length, in the header, in the first block, at the end.
@pytest.mark.parametrize("at", [0, 8, 11, 20, -160_000, -1])
@pytest.mark.parametrize("loud", [False, True])
def test_all_damaged_and_missing_chunks_are_named(
    at: int, blobs: BlockingBlobs, tmp_path: Path, *, loud: bool
) -> None:
    made = song(6.0)
    request = order(blobs, made.mix, made.vocals * (20 if loud else 1))
    assert request.plan.chunks == 5
    damage(blobs, request.chunk_keys[1], at)
    damage(blobs, request.chunk_keys[3], at)
    keys = (*request.chunk_keys[:4], "work/j/1/none")
    said = lost(msgspec.structs.replace(request, chunk_keys=keys), blobs, tmp_path / "scratch")
    assert said.chunks == (1, 3, 4)
    assert said.problem.code == Code.BLOB_CORRUPT
    assert request.chunk_keys[1] in said.problem.detail


def test_a_chunk_that_is_cut_off_or_another_s_is_lost(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(3.0)
    request = order(blobs, made.mix, made.vocals)
    key = request.chunk_keys[0]
    blobs.put(key, blobs.get_range(key, 0, blobs.size(key) - 8))
    keys = (key, request.chunk_keys[0], *request.chunk_keys[2:])
    said = lost(msgspec.structs.replace(request, chunk_keys=keys), blobs, tmp_path / "scratch")
    assert said.chunks == (0, 1)


def test_a_missing_chunk_is_noticed(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(3.0)
    request = order(blobs, made.mix, made.vocals)
    gone = msgspec.structs.replace(request, chunk_keys=("work/j/1/none", *request.chunk_keys[1:]))
    said = lost(gone, blobs, tmp_path / "scratch")
    assert (said.chunks, said.problem.code) == ((0,), Code.BLOB_MISSING)
    few = msgspec.structs.replace(request, chunk_keys=request.chunk_keys[1:])
    with pytest.raises(TerminalError) as caught:
        encoded(few, blobs, tmp_path / "few")
    assert caught.value.code == Code.BLOB_MISSING


def test_a_track_that_is_cut_off_is_no_lost_chunk(blobs: BlockingBlobs, tmp_path: Path) -> None:
    made = song(3.0)
    request = order(blobs, made.mix, made.vocals)
    blobs.put(f"tracks/{request.track.id}/audio.f32", bytes(800))
    reports: list[EncodeReport] = []
    (tmp_path / "scratch").mkdir()
    StemWriter(blobs=blobs, folder=tmp_path / "scratch").handle(request, reports.append)
    (said,) = [one for one in reports if not isinstance(one, Progressed)]
    assert isinstance(said, TrackLost)
    assert (said.problem.code, said.problem.retryable) == (Code.BLOB_CORRUPT, False)
    assert not list((tmp_path / "blobs").glob("results/*/*"))


@pytest.mark.parametrize("audio_format", [AudioFormat.FLAC, AudioFormat.WAV, AudioFormat.OPUS])
def test_a_full_disk_is_said_so_and_may_be_tried_again(
    audio_format: AudioFormat, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    made = song(3.0)
    request = order(blobs, made.mix, made.vocals, audio_format, ("drums", "vocals"))
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / f"vocals.{audio_format.extension}").symlink_to("/dev/full")
    with pytest.raises(RetryableError) as caught:
        encoded(request, blobs, folder)
    assert caught.value.code == Code.STORAGE_FULL
    assert not list((tmp_path / "blobs").glob("results/*/*"))


def test_sixteen_bits_are_dithered_the_same_way_each_time(
    blobs: BlockingBlobs, tmp_path: Path
) -> None:
    quiet = tone(BLOCK_FRAMES + 999, 500.0, level=0.4 / (1 << 15))
    quiet[:1000] = 0.0
    request = order(blobs, quiet, quiet, AudioFormat.WAV16, ("vocals",))
    got = encoded(request, blobs, tmp_path / "scratch")
    again = encoded(request, blobs, tmp_path / "again")
    assert got.file("vocals") == again.file("vocals")
    heard = got.decoded("vocals")
    assert len(heard) == len(quiet)
    assert not heard[:1000].any()
    # Rounding alone would leave nothing of a tone below half a step.
    wave = quiet[1000:, 0].astype(np.float64)
    assert heard[1000:, 0] @ wave / (wave @ wave) == pytest.approx(1.0, abs=0.1)
    assert np.abs(heard - quiet).max() <= 1.5 / (1 << 15)


def test_floats_are_stored_as_they_are(blobs: BlockingBlobs, tmp_path: Path) -> None:
    mix, vocals = tone(70_000, 300.0, level=0.5), tone(70_000, 300.0, level=-1.5)
    got = encoded(order(blobs, mix, vocals, AudioFormat.WAV32F), blobs, tmp_path / "scratch")
    assert got.result.gain == 1.0
    np.testing.assert_allclose(vocals, got.decoded("vocals"), atol=2e-6)
    np.testing.assert_allclose(mix - vocals, got.decoded("instrumental"), atol=2e-6)
    peaks = {one.name: one.peak for one in got.result.stems}
    assert peaks["instrumental"] == pytest.approx(2.0, rel=1e-3)


def test_full_scale_is_not_wrapped_around() -> None:
    samples = np.array([[1.0, -1.0], [0.0, 2.0**-23]], np.float32)
    assert quantized(samples).tolist() == [[((1 << 23) - 1) << 8, -(1 << 31)], [0, 256]]


def test_encoding_and_the_service_never_load_torch() -> None:
    modules = ("encode", "actor", "children", "config", "catalogue")
    imports = ";".join(f"import services.separator.{name}" for name in modules)
    code = f"import sys;{imports};sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
