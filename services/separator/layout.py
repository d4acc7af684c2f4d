"""How many engines, on which devices, with how many lanes and threads.  Pure."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from services.separator.config import SeparatorConfig
    from services.separator.hardware import Machine

#: Chunks on a GPU at once: while one is loaded and one is stored, two give windows to batch.
GPU_LANES: Final = 4
#: Chunks on a CPU's engine at once, at most, where more slots than one are wished for: while one
#: is loaded or stored the other is computed.
CPU_LANES: Final = 2
CPU: Final = "cpu"


class Seat(NamedTuple):
    """One engine process."""

    #: As torch names it; empty: the best there is, of several GPUs that with ``number``.
    device: str
    number: int
    #: Chunks that are worked on at once.
    lanes: int
    #: Torch's threads on a CPU.
    threads: int


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
