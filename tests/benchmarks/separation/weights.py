"""The model that everybody runs: htdemucs at its published size, with random weights.

What a network computes takes the same time whatever its weights are, so random ones do for
speed; a fixed seed makes them the same for all contenders and in every run.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from demucs.htdemucs import HTDemucs

from tests.support.models import FOUR, save_bag, save_package, small_htdemucs

if TYPE_CHECKING:
    from collections.abc import Callable

#: The published network's: with the defaults of HTDemucs for the rest, it has as many.
PARAMETERS: Final = 41_984_456
#: Floating-point operations of one window, counted by torch's FlopCounterMode.
WINDOW_FLOP: Final = 218e9
#: Seconds of a window, and from one to the next: 75 % of it.
WINDOW_SECONDS: Final = Fraction(39, 5)
SEED: Final = 4
#: The bag's name, as each contender is asked for it.
NAME: Final = "bench_htdemucs"
#: What audio-separator would download first: a list of models for each of its architectures.
_LISTS: Final = "download_checks.json"
_LISTS_NEEDED: Final = (
    "vr_download_list",
    "mdx_download_list",
    "mdx_download_vip_list",
    "mdx23c_download_list",
    "mdx23c_download_vip_list",
    "roformer_download_list",
)


def full_htdemucs() -> Any:  # noqa: ANN401 - demucs ships no types
    """The network of ``htdemucs`` (955717e8): its training's options, but for the defaults."""
    torch.manual_seed(SEED)
    return HTDemucs(list(FOUR), segment=WINDOW_SECONDS, bottom_channels=512, dconv_mode=3)


def tiny_htdemucs() -> Any:  # noqa: ANN401 - likewise
    """A network that takes no time: to try out everything but the numbers."""
    return small_htdemucs(SEED)


def model_folder(folder: Path, build: Callable[[], Any]) -> Path:
    """A folder that demucs, Stembus and audio-separator each take the model from; made once.

    It is a bag of one package, as the published models are; audio-separator finds its list
    of models there, too, with this one in it, so that it has nothing to download.
    """
    if (folder / _LISTS).exists():
        return folder
    path = save_package(build(), folder, NAME, checksum=True)
    # demucs looks a package up by the signature before the dash, audio-separator likewise.
    save_bag(folder, NAME, [NAME])
    lists: dict[str, dict[str, object]] = {name: {} for name in _LISTS_NEEDED}
    bag = f"{NAME}.yaml"
    lists["demucs_download_list"] = {f"Demucs v4: {NAME}": {path.name: path.name, bag: bag}}
    (folder / _LISTS).write_text(json.dumps(lists))
    return folder


def digest(folder: Path) -> str:
    """The beginning of the package's SHA-256."""
    (path,) = folder.glob("*.th")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
