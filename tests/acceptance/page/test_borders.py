"""Nothing is heard of the borders between pieces: a recording of the page's player is the song."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pytest

from services.gateway.wav import wav_header, wav_samples
from shared.contracts.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.async_api import Page

    from tests.acceptance.page.conftest import Visit

    Samples = NDArray[np.float32]

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDING: Final = Path(__file__).with_name("recording.js").read_text(encoding="utf-8")
#: Frames of a piece: no multiple of anything.
PIECE: Final = 30_011
COUNT: Final = 6
FRAMES: Final = 5 * PIECE + 12_345
#: Frames from a decision to the first sample (LEAD), and of a fade (FADE), in piece-engine.js.
LEAD: Final = 0.04 * SAMPLE_RATE
FADE: Final = 353
#: Frames after which a fader has come to rest.
SETTLED: Final = 20_000
#: Rounding of the sum of two stems.
CLOSE: Final = 2e-7


def made_stem(seed: int) -> Samples:
    """(frames, channels): noise, in which every frame is known by its value."""
    whole = np.random.default_rng(seed).integers(-9000, 9000, (FRAMES, 2))
    return (whole / 32_768).astype(np.float32)


STEMS: Final = {"vocals": made_stem(1), "drums": made_stem(2)}
#: As Chromium decodes 16 bits: what is above zero is divided by 32,767.
HEARD: Final = {
    name: np.where(stem > 0, stem * np.float32(32_768 / 32_767), stem)
    for name, stem in STEMS.items()
}
BOTH: Final = HEARD["vocals"] + HEARD["drums"]


class Recording(NamedTuple):
    """What was heard."""

    #: (frames, channels)
    heard: Samples
    #: Seconds on its clock at which each moment came.
    clocks: list[float]


async def recorded(
    page: Page, *, ready: int, levels: dict[str, float], moments: list[Any]
) -> Recording:
    """Play from the beginning; ``ready`` pieces are there then, what comes later is in moments."""
    pieces = {
        name: [
            base64.b64encode(wav_header(len(part)) + wav_samples(part)).decode()
            for part in np.split(stem, range(PIECE, FRAMES, PIECE))
        ]
        for name, stem in STEMS.items()
    }
    answer = await page.evaluate(
        RECORDING,
        {
            "rate": SAMPLE_RATE,
            "frames": FRAMES + SAMPLE_RATE,
            "seconds": FRAMES / SAMPLE_RATE,
            "pieceSeconds": PIECE / SAMPLE_RATE,
            "pieces": pieces,
            "ready": min(ready * PIECE, FRAMES) / SAMPLE_RATE,
            "first": ready * len(levels),
            "levels": levels,
            "moments": moments,
        },
    )
    channels = [np.frombuffer(base64.b64decode(text), np.float32) for text in answer["channels"]]
    return Recording(np.stack(channels, axis=1), answer["clocks"])


def after(seconds: float) -> int:
    """The first frame that is heard of what is decided then."""
    return int(np.ceil(seconds * SAMPLE_RATE + LEAD - 1e-6))


def seconds_of(pieces: float) -> float:
    return pieces * PIECE / SAMPLE_RATE


async def test_pieces_that_are_there_are_one_song_to_the_sample(visit: Visit) -> None:
    page = (await visit()).page
    made = await recorded(page, ready=COUNT, levels={"vocals": 1, "drums": 1}, moments=[])
    begins = after(0)
    heard = made.heard[begins : begins + FRAMES]
    np.testing.assert_allclose(heard[SETTLED:], BOTH[SETTLED:], rtol=0, atol=CLOSE)
    assert not made.heard[:begins].any()
    assert not made.heard[begins + FRAMES :].any()


async def test_pieces_that_come_while_others_play_are_joined_to_them(visit: Visit) -> None:
    page = (await visit()).page
    more = {"at": seconds_of(1.5), "stalled": False, "ready": FRAMES / SAMPLE_RATE, "pieces": 12}
    made = await recorded(page, ready=2, levels={"vocals": 1, "drums": 1}, moments=[more])
    heard = made.heard[after(0) :][:FRAMES]
    np.testing.assert_allclose(heard[SETTLED:], BOTH[SETTLED:], rtol=0, atol=CLOSE)


async def test_a_stem_that_is_turned_on_joins_in_on_its_frame(visit: Visit) -> None:
    page = (await visit()).page
    on = {"at": seconds_of(1.5), "stalled": False, "levels": {"drums": 1}, "pieces": 11}
    made = await recorded(page, ready=COUNT, levels={"vocals": 1}, moments=[on])
    begins = after(0)
    joins = after(made.clocks[0]) - begins
    heard = made.heard[begins : begins + FRAMES]
    vocals = HEARD["vocals"]
    np.testing.assert_allclose(heard[SETTLED:joins], vocals[SETTLED:joins], rtol=0, atol=CLOSE)
    settled = joins + SETTLED
    np.testing.assert_allclose(heard[settled:], BOTH[settled:], rtol=0, atol=CLOSE)


async def test_a_player_that_has_to_wait_goes_on_with_the_next_frame_and_does_not_click(
    visit: Visit,
) -> None:
    page = (await visit()).page
    late = {"at": seconds_of(2.5), "stalled": True, "ready": FRAMES / SAMPLE_RATE, "pieces": 12}
    made = await recorded(page, ready=2, levels={"vocals": 1, "drums": 1}, moments=[late])
    begins, again, breaks = after(0), after(made.clocks[0]), 2 * PIECE
    before = made.heard[begins : begins + breaks]
    behind = made.heard[again : again + FRAMES - breaks]
    np.testing.assert_allclose(
        before[SETTLED:-FADE], BOTH[SETTLED : breaks - FADE], rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(behind[FADE:], BOTH[breaks + FADE :], rtol=0, atol=CLOSE)
    assert not made.heard[begins + breaks : again].any()
    # It fades out and in: what is heard there is the song, less and less of it or more and more.
    rising = (np.arange(FADE) / FADE)[:, None]
    fading = BOTH[breaks - FADE : breaks] * rising[::-1]
    np.testing.assert_allclose(before[-FADE:], fading, rtol=0, atol=2e-3)
    np.testing.assert_allclose(
        behind[:FADE], BOTH[breaks : breaks + FADE] * rising, rtol=0, atol=2e-3
    )
