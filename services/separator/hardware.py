"""What there is to compute with, found without torch: importing that takes a second."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where a container's share of the CPU is said (cgroup v2).
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
#: What the kernel calls an NVIDIA GPU, and a GPU of any maker that computes.
_NVIDIA: Final = re.compile(r"nvidia\d+")
_RENDERS: Final = re.compile(r"renderD\d+")
#: The GPUs of Windows, in its Linux: it does not say how many, nor whose; NVIDIA's come with CUDA.
_WINDOWS: Final = "dxg"
WINDOWS_CUDA: Final = Path("/usr/lib/wsl/lib/libcuda.so.1")
#: The driver of AMD's GPUs for computing.
_AMD: Final = "kfd"


class Machine(NamedTuple):
    """What there is to compute with."""

    cores: int
    gpus: int


def this_machine(
    environ: Mapping[str, str],
    devices: Path = Path("/dev"),
    quota: Path = QUOTA,
    build: str | None = None,
    system: tuple[str, str] | None = None,
    windows_cuda: Path = WINDOWS_CUDA,
) -> Machine:
    """Cores that this process may use, and GPUs that it may see.

    ``build``: torch's version, whose end tells what it was built for, or nothing; ``system``: the
    operating system's name, and the processor's.
    """
    gpus = _gpus(
        devices,
        version("torch") if build is None else build,
        (platform.system(), platform.machine()) if system is None else system,
        windows_cuda,
    )
    if (visible := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        # CUDA reads as far as the first that names none.
        named = takewhile(lambda one: one.strip() not in {"", "-1"}, visible.split(","))
        gpus = min(gpus, len(list(named)))
    return Machine(cores=_cores(quota), gpus=gpus)


def _gpus(devices: Path, build: str, system: tuple[str, str], windows_cuda: Path) -> int:
    """GPUs that this torch can use."""
    if "+cpu" in build:
        return 0
    if system == ("Darwin", "arm64"):
        return 1
    names = {entry.name for entry in devices.iterdir()} if devices.is_dir() else set[str]()
    if "+rocm" in build:
        cards = devices / "dri"
        return sum(map(_renders, cards.iterdir())) if _AMD in names and cards.is_dir() else 0
    found = sum(1 for name in names if _NVIDIA.fullmatch(name))
    return found or int(_WINDOWS in names and windows_cuda.exists())


def _renders(device: Path) -> bool:
    return _RENDERS.fullmatch(device.name) is not None


def _cores(quota_file: Path) -> int:
    """Cores that this process may run on, as far as a container's quota lets it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = quota_file.read_text().split()
        allowed = int(quota) // int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup, or no limit ("max")
        return cores or 1
    return max(1, min(cores or 1, allowed))
