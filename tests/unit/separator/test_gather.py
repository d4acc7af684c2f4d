"""Chunks become the track again, however it was cut, and nothing that lies behind is kept."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.separator.gather import ChunkLostError, Gathering, TrackLostError
from shared.blobs import BlockingBlobs, track_audio_key
from shared.contracts.audio import Pass, Plan
from shared.errors import Code
from shared.separation.spans import BLOCK_FRAMES, header_of, pack_span
from shared.separation.windows import (
    output_span,
    pass_weight,
    stride_frames,
    triangle,
    window_span,
    windows_of,
)
from tests.support.audio import Audio, heard_of, noise, stored_track

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEGMENT = 30_000
STRIDE = stride_frames(SEGMENT)


def plan_of(frames: int, windows: int, starts: tuple[int, ...]) -> Plan:
    """Passes of different starts, and of two lengths of windows."""
    return Plan(
        model="made",
        digest="d",
        sources=("drums", "vocals"),
        computed=("drums", "vocals"),
        stems=("drums", "vocals"),
        frames=frames,
        passes=tuple(
            Pass(
                members=(number,),
                segment=SEGMENT - 800 * number,
                stride=stride_frames(SEGMENT - 800 * number),
                start=start,
            )
            for number, start in enumerate(starts)
        ),
        chunk_frames=windows * STRIDE,
    )


def share_of(plan: Plan, chunk: int) -> Audio:
    """How much of each frame a chunk contributes, (frames, 1)."""
    whole = output_span(plan, chunk)
    share = np.zeros(whole.frames, np.float32)
    for one in plan.passes:
        own = np.zeros(whole.frames, np.float32)
        for window in windows_of(plan, chunk, one):
            span = window_span(plan, one, window)
            part = span.common(whole)
            own[part.start - whole.start : part.end - whole.start] += triangle(one.segment)[
                part.start - span.start : part.end - span.start
            ]
        share += own / pass_weight(plan, one, whole) / len(plan.passes)
    return share[:, None]


def scattered(
    blobs: BlockingBlobs,
    plan: Plan,
    sources: Audio,
    heard_by: Callable[[int], Audio] | None = None,
) -> Gathering:
    """The chunks of ``sources``, (2, frames, 2), stored; the last first.

    ``heard_by``: what the track was like when a chunk was computed.
    """
    # A track whose normalization changes nothing.
    mix = noise(plan.frames, seed=2)
    track = stored_track(blobs, mix)
    track = type(track)(id=track.id, frames=track.frames, mean=0.0, std=1.0)
    keys = tuple(f"work/j/1/chunk-{chunk}" for chunk in range(plan.chunks))
    for chunk in reversed(range(plan.chunks)):
        span = output_span(plan, chunk)
        part = sources[:, span.start : span.end] * share_of(plan, chunk)
        heard = heard_of(mix if heard_by is None else heard_by(chunk), span)
        blobs.put(keys[chunk], pack_span(header_of(plan, chunk), part, heard))
    return Gathering(blobs=blobs, track=track, plan=plan, chunk_keys=keys)


@pytest.mark.parametrize(
    "frames", [1, 2, SEGMENT, BLOCK_FRAMES - 1, BLOCK_FRAMES, BLOCK_FRAMES + 1, 3 * BLOCK_FRAMES]
)
@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("starts", [(0,), (0, 0), (-22_050, -1, 0), (-9000,)])
def test_the_sources_come_back_whole(
    frames: int, windows: int, starts: tuple[int, ...], blobs: BlockingBlobs
) -> None:
    plan = plan_of(frames, windows, starts)
    sources = np.stack((noise(frames, seed=3), noise(frames, seed=4)))
    gathering = scattered(blobs, plan, sources)
    for _ in range(2):  # as often as it is needed
        blocks = list(gathering.blocks())
        assert [one.start for one in blocks] == list(range(0, frames, BLOCK_FRAMES))
        for stem, expected in zip(plan.stems, sources, strict=True):
            got = np.concatenate([one.stems[stem] for one in blocks])
            np.testing.assert_allclose(expected, got, atol=1e-6)
        np.testing.assert_array_equal(
            noise(frames, seed=2), np.concatenate([one.mix for one in blocks])
        )


@pytest.mark.parametrize("starts", [(0,), (-22_050, 0)])
def test_what_lies_behind_is_let_go(starts: tuple[int, ...], blobs: BlockingBlobs) -> None:
    plan = plan_of(16 * BLOCK_FRAMES, 1, starts)
    gathering = scattered(blobs, plan, np.stack((noise(plan.frames),) * 2))
    assert plan.chunks > 40
    tracemalloc.start()
    try:
        for _ in gathering.blocks():
            # A block is touched by at most four chunks that are not yet behind, and the next one.
            assert len(gathering._opened) <= 6
        # A block of the mix, two sums, two stems, what is read and what is made on the way.
        assert tracemalloc.get_traced_memory()[1] < 16 * 8 * BLOCK_FRAMES
    finally:
        tracemalloc.stop()


def test_a_chunk_that_can_t_be_used_is_named(blobs: BlockingBlobs) -> None:
    plan = plan_of(3 * BLOCK_FRAMES, 2, (0,))
    gathering = scattered(blobs, plan, np.stack((noise(plan.frames),) * 2))
    assert [gathering.lost(chunk) for chunk in range(plan.chunks)] == [None] * plan.chunks
    key = f"work/j/1/chunk-{plan.chunks - 1}"
    blobs.put(key, b"no chunk")
    with pytest.raises(ChunkLostError) as caught:
        list(gathering.blocks())
    assert caught.value.chunk == plan.chunks - 1
    assert caught.value.error.code == Code.BLOB_CORRUPT
    assert gathering.lost(plan.chunks - 1) is not None
    assert gathering.lost(0) is None


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (None, Code.BLOB_MISSING),
        (lambda _: b"", Code.BLOB_CORRUPT),
        (lambda data: data[:-8], Code.BLOB_CORRUPT),
        (lambda data: data + bytes(8), Code.BLOB_CORRUPT),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), Code.BLOB_CORRUPT),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], Code.BLOB_CORRUPT),
    ],
)
def test_a_track_that_is_not_what_it_is_named_after_is_noticed(
    damage: Callable[[bytes], bytes] | None, code: Code, blobs: BlockingBlobs, tmp_path: Path
) -> None:
    plan = plan_of(2 * BLOCK_FRAMES + 5, 2, (0,))
    gathering = scattered(blobs, plan, np.stack((noise(plan.frames),) * 2))
    key = track_audio_key(gathering._track.id)
    if damage is None:
        (tmp_path / "blobs" / key).unlink()
    else:
        blobs.put(key, damage(blobs.get_range(key, 0, blobs.size(key))))
    with pytest.raises(TrackLostError) as caught:
        list(gathering.blocks())
    assert caught.value.error.code is code


@pytest.mark.parametrize("starts", [(0,), (-9000,), (-22_050, 0)])
@pytest.mark.parametrize("wrong", [(0,), (1, 2), (-1,)])
def test_chunks_that_heard_another_track_are_lost_and_no_others(
    wrong: tuple[int, ...], starts: tuple[int, ...], blobs: BlockingBlobs
) -> None:
    """They were computed while it was damaged, by one bit; by now it is whole again."""
    plan = plan_of(3 * BLOCK_FRAMES, 2, starts)
    mistaken = sorted(range(plan.chunks)[chunk] for chunk in wrong)

    def heard_by(chunk: int) -> Audio:
        mix = noise(plan.frames, seed=2)
        if chunk in mistaken:
            mix[output_span(plan, chunk).end - 1, 1] *= -1
        return mix

    gathering = scattered(blobs, plan, np.stack((noise(plan.frames),) * 2), heard_by)
    with pytest.raises(ChunkLostError, match="while the track was another") as caught:
        list(gathering.blocks())
    assert (caught.value.chunk, caught.value.error.code) == (mistaken[0], Code.BLOB_CORRUPT)
    lost = [chunk for chunk in range(plan.chunks) if gathering.lost(chunk) is not None]
    assert lost == mistaken


def test_where_the_track_is_damaged_nobody_else_is_to_blame(blobs: BlockingBlobs) -> None:
    plan = plan_of(3 * BLOCK_FRAMES, 2, (0,))
    gathering = scattered(blobs, plan, np.stack((noise(plan.frames),) * 2))
    key = track_audio_key(gathering._track.id)
    data = bytearray(blobs.get_range(key, 0, blobs.size(key)))
    data[len(data) // 2] ^= 1
    blobs.put(key, bytes(data))
    with pytest.raises(TrackLostError):
        list(gathering.blocks())
    assert [gathering.lost(chunk) for chunk in range(plan.chunks)] == [None] * plan.chunks
