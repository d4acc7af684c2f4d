"""Exact or fast: what either means on a device."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from shared.contracts.audio import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator


def resolve(asked: Precision | None, chosen: Precision | None, device: torch.device) -> Precision:
    """What a song is computed with: what its client asked for, else what the operator chose.

    Where neither says anything it is ``exact`` on a CPU and ``fast`` elsewhere.  A device that
    is no faster with half the bits computes exactly, whoever asked.
    """
    usual = Precision.EXACT if device.type == "cpu" else Precision.FAST
    wanted = asked or chosen or usual
    return wanted if half_type(device) is not None else Precision.EXACT


def half_type(device: torch.device) -> torch.dtype | None:
    """The number type with half the bits that a device is faster with; None: there is none.

    On a CPU that is bfloat16 where it multiplies matrices of them in hardware (AMX, AVX-512
    BF16); elsewhere torch would emulate it, slower than float32.
    """
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and _multiplies_bfloat16():
        return torch.bfloat16
    return None


def _multiplies_bfloat16() -> bool:
    flags = torch.cpu.get_capabilities()
    return any(bool(flags.get(name)) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def laid_out(module: Any, device: torch.device) -> None:  # noqa: ANN401 - torch's types of ``to`` know no layouts
    """Lay the weights of 2-D convolutions out as a device with a half type on a CPU reads them.

    Channels last spares bfloat16 a tenth of a window's time there, and costs float32 nothing
    (tests.benchmarks.separation --profile).  It is done once, whatever the precision: sums must
    not depend on what a network was used for before.
    """
    if device.type == "cpu" and half_type(device) is not None:
        module.to(memory_format=torch.channels_last)


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute like this within the context, without gradients."""
    fast = precision is Precision.FAST
    # TF32 is on for convolutions unless it is told off: 10 bits of mantissa are not exact.
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    half = half_type(device) if fast else None
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None),
    ):
        yield
