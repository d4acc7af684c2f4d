"""Torch devices: which to take, and what to do where one has no room."""

from __future__ import annotations

import ctypes
import gc
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import nn

#: Where everything fits that fits anywhere.
CPU: Final = torch.device("cpu")
#: Parts of messages of allocators that have no exception of their own: the CPU's, MPS's, cuBLAS's.
_NO_ROOM: Final = ("can't allocate memory", "out of memory", "alloc_failed")


def choose_device(wanted: str, number: int = 0) -> torch.device:
    """``wanted``, or the best device there is; of several GPUs that with this number."""
    if wanted:
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What it is called, so that what was measured on one is not taken for another."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def free_cache() -> None:
    """Give back to the devices what is kept for later; others may need it."""
    gc.collect()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc's own
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def out_of_memory(exc: RuntimeError) -> bool:
    """Whether that is what it says."""
    if isinstance(exc, torch.OutOfMemoryError):
        return True
    message = str(exc).lower()
    return any(part in message for part in _NO_ROOM)


def works(device: torch.device) -> bool:
    """Whether it still computes: some faults leave a process with a device that does nothing."""
    try:
        one = torch.ones(1, device=device)
        return float((one + one).cpu()) == 2.0  # noqa: PLR2004 - as they do
    except RuntimeError:
        return False


def placed(module: nn.Module, device: torch.device) -> bool:
    """Move ``module`` to ``device``; if there is no room it is whole on the CPU, and False."""
    try:
        module.to(device)
    except RuntimeError as exc:
        if device == CPU or not out_of_memory(exc):
            raise
    else:
        return True
    module.to(CPU)  # a part of it may have moved already
    return False
