"""The machine's measured peak: what share of it a separation uses."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import torch

#: Rows and columns of the matrices: 16 MB each, more than any cache, and still quick.
SIDE: Final = 2048
_TURNS: Final = 12


def matmul_peak(device: str) -> float:
    """Floating-point operations a second of the fastest of some float32 matrix products."""
    left, right = torch.randn(2, SIDE, SIDE, device=device)
    best = float("inf")
    for _ in range(_TURNS):
        _finish(device)
        began = perf_counter()
        torch.mm(left, right)
        _finish(device)
        best = min(best, perf_counter() - began)
    return 2 * SIDE**3 / best


def _finish(device: str) -> None:
    """Wait for a device that computes while its caller goes on."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
