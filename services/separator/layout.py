"""How many engines, on which devices, with how many lanes and threads.  Pure."""

from __future__ import annotations

import os
import re
from itertools import takewhile
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.separator.config import SeparatorConfig

#: Chunks on a GPU at once: while one is loaded and one is stored, two give windows to batch.
GPU_LANES: Final = 4
#: Chunks on a CPU's engine at once, at most, where more slots than one are wished for: while one
#: is loaded or stored the other is computed.
CPU_LANES: Final = 2
CPU: Final = "cpu"
#: Where a container's share of the CPU is said (cgroup v2).
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
#: What the kernel calls an NVIDIA GPU.
_GPU: Final = re.compile(r"nvidia\d+")


class Seat(NamedTuple):
    """One engine process."""

    #: As torch names it; empty: the best there is, of several GPUs that with ``number``.
    device: str
    number: int
    #: Chunks that are worked on at once.
    lanes: int
    #: Torch's threads on a CPU.
    threads: int


class Machine(NamedTuple):
    """What there is to compute with."""

    cores: int
    gpus: int


def this_machine(
    environ: Mapping[str, str], devices: Path = Path("/dev"), quota: Path = QUOTA
) -> Machine:
    """Cores that this process may use, and GPUs that it may see; torch is not asked."""
    names = (
        {entry.name for entry in devices.iterdir() if _GPU.fullmatch(entry.name)}
        if devices.is_dir()
        else set[str]()
    )
    gpus = len(names)
    if (visible := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        # CUDA reads as far as the first that names none.
        named = takewhile(lambda one: one.strip() not in {"", "-1"}, visible.split(","))
        gpus = min(gpus, len(list(named)))
    return Machine(cores=_cores(quota), gpus=gpus)


def seats(config: SeparatorConfig, machine: Machine) -> tuple[Seat, ...]:
    """The engines of a separator.

    A GPU has one engine with several lanes, so that windows of several chunks make a batch.  A
    CPU gains nothing from batches, and with a local store next to nothing from a second lane,
    while what lies in that lane could be another separator's: one lane, unless more are wished
    for; then each two share an engine, and the engines share the cores out.
    """
    # GPUs that nobody asked for are left alone; a CPU named beside them is what they fall back to.
    gpus = tuple(name for name in config.device or ("",) * machine.gpus if name != CPU)
    slots = config.separate_slots or GPU_LANES * len(gpus) or 1
    devices = gpus or (config.device or ("",))[:1] * ceil(slots / CPU_LANES)
    count = len(devices)
    lanes = [slots // count + (place < slots % count) for place in range(count)]
    threads = config.torch_threads or max(1, machine.cores // count)
    return tuple(
        Seat(device, number, lane, threads)
        for number, (device, lane) in enumerate(zip(devices, lanes, strict=True))
        if lane
    )


def _cores(quota_file: Path) -> int:
    """Cores that this process may run on, as far as a container's quota lets it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = quota_file.read_text().split()
        allowed = int(quota) // int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup, or no limit ("max")
        return cores or 1
    return max(1, min(cores or 1, allowed))
