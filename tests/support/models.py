"""Tiny demucs models with random weights, saved as the packages that demucs itself loads."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

if TYPE_CHECKING:
    from collections.abc import Sequence

FOUR = ["drums", "bass", "other", "vocals"]
#: Seconds; an odd number of frames at 44.1 kHz, so that rounding and halving are tested.
SEGMENT = Fraction(33075, 44100)


def small_htdemucs(seed: int = 0, sources: Sequence[str] = FOUR) -> Any:  # noqa: ANN401 - demucs ships no types
    """A hybrid transformer with a fixed window of 0.75 s."""
    torch.manual_seed(seed)
    return HTDemucs(
        list(sources),
        channels=4,
        growth=2,
        nfft=1024,
        depth=4,
        t_layers=1,
        t_heads=2,
        t_hidden_scale=1.0,
        dconv_comp=2,
        dconv_depth=1,
        segment=SEGMENT,
    )


def small_hdemucs(seed: int = 0) -> Any:  # noqa: ANN401 - likewise
    """A hybrid model without a window of its own; 0.8 s is what it is used with."""
    torch.manual_seed(seed)
    return HDemucs(list(FOUR), channels=4, nfft=4096, depth=6, segment=0.8)


def small_demucs(seed: int = 0) -> Any:  # noqa: ANN401 - likewise
    """A time-domain model that wants lengths its strides divide."""
    torch.manual_seed(seed)
    return Demucs(
        list(FOUR), channels=4, growth=1.5, depth=4, dconv_attn=9, dconv_lstm=9, segment=0.7
    )


def plain_demucs(seed: int = 0) -> Any:  # noqa: ANN401 - likewise
    """Two layers of convolutions over windows of 8 s: some 200 times as fast as real time."""
    torch.manual_seed(seed)
    return Demucs(
        list(FOUR),
        channels=4,
        growth=1.0,
        depth=2,
        lstm_layers=0,
        dconv_mode=0,
        resample=False,
        segment=8.0,
    )


def save_package(model: Any, folder: Path, name: str, *, checksum: bool = False) -> Path:  # noqa: ANN401 - likewise
    """Save ``model`` as ``<name>.th`` or ``<name>-<checksum>.th``; the file."""
    args, kwargs = model._init_args_kwargs
    package = {
        "klass": type(model),
        "args": args,
        "kwargs": kwargs,
        "state": {key: value.clone() for key, value in model.state_dict().items()},
    }
    buffer = io.BytesIO()
    torch.save(package, buffer)
    data = buffer.getvalue()
    suffix = f"-{hashlib.sha256(data).hexdigest()[:8]}" if checksum else ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{suffix}.th"
    path.write_bytes(data)
    return path


def save_bag(folder: Path, name: str, members: Sequence[str], weights: object = None) -> Path:
    """Save a bag of packages as ``<name>.yaml``; the file."""
    lines = [f"models: {list(members)!r}"]
    if weights is not None:
        lines.append(f"weights: {weights!r}")
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines))
    return path
