"""Whether a completed job's stems are what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tests.acceptance.listening import hear

if TYPE_CHECKING:
    from tests.acceptance.api import Api
    from tests.chaos.orders import Order
    from tests.chaos.songs import Songs

#: What each format is, as a decoder names it.
CODECS: Final = {
    "flac": "flac", "mp3": "mp3", "wav": "pcm_s24le", "opus": "opus", "m4a": "aac",
}  # fmt: skip
#: Formats that give back every sample; the others may pad by a little.
LOSSLESS: Final = frozenset({"flac", "wav"})
#: Samples by which a lossy file may be longer or shorter: two of the encoder's frames.
PADDING: Final = 4096
#: By how much the sum of losslessly stored stems may differ from the song.
EXACT: Final = 2.0**-20
NAMES: Final = ("vocals", "instrumental")


async def wrong_stems(api: Api, job_id: str, order: Order, songs: Songs) -> list[str]:
    """What is wrong with them, decoded."""
    job = await api.job(job_id)
    if [stem["name"] for stem in job["stems"]] != list(NAMES):
        return [f"its stems are {job['stems']}"]
    mix = hear(songs.path(order)).samples
    heard = [hear(await api.stem(job, name)) for name in NAMES]
    wrong = [
        f"{name} is {one.codec}, {len(one.samples)} samples of {len(mix)}"
        for name, one in zip(NAMES, heard, strict=True)
        if one.codec not in {CODECS[order.format], f"{CODECS[order.format]}float"}
        or abs(len(one.samples) - len(mix)) > (0 if order.format in LOSSLESS else PADDING)
    ]
    if not wrong and order.format in LOSSLESS:
        error = float(np.abs(heard[0].samples + heard[1].samples - mix).max())
        if error > EXACT:
            wrong.append(f"its stems differ from the song by {error:g}")
    return wrong
