"""What the numbers are for: the machine, its disk, and the programs on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Final

from msgspec import Struct

from services.cli import broker
from tests.benchmarks.timing import median, percentile

_SYNCS: Final = 200
_BLOCK: Final = b"x" * 512
_PACKAGES: Final = ("nats-py", "aiohttp", "celery", "redis", "taskiq", "taskiq-nats")


class Machine(Struct, frozen=True, kw_only=True):
    """One machine at one time."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    nats_server: str
    #: None where it is not installed.
    redis_server: str | None
    packages: dict[str, str]
    #: Kind of file system that the brokers wrote to.
    filesystem: str
    #: Milliseconds that one append of 512 bytes with fdatasync takes there.
    sync_p50_ms: float
    sync_p99_ms: float
    #: Processes that wanted to run, on average over a minute, before the benchmark began.
    load_before: float

    @property
    def busy(self) -> bool:
        """Whether others wanted its cores: times are theirs, too, then."""
        return self.load_before > self.cores / 4

    def __str__(self) -> str:
        redis = f", redis-server {self.redis_server}" if self.redis_server else ""
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gib:.0f} GiB, {self.system},"
            f" Python {self.python}, nats-server {self.nats_server}{redis};"
            f" {self.filesystem}, one synced append {self.sync_p50_ms:.2f} ms"
            f" (p99 {self.sync_p99_ms:.2f} ms); load before {self.load_before:.1f}"
        )


def this_machine(folder: Path) -> Machine:
    """The machine that we are on; its disk is the one that ``folder`` lies on."""
    syncs = _sync_times(folder)
    redis = shutil.which("redis-server")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        nats_server=_version(broker.executable()),
        redis_server=_version(redis) if redis else None,
        packages=_packages(),
        filesystem=_filesystem(folder),
        sync_p50_ms=round(median(syncs), 3),
        sync_p99_ms=round(percentile(syncs, 99), 3),
        load_before=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"v=?(\d[\w.]*)", said.stdout)
    return found.group(1) if found else said.stdout.strip()


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _filesystem(folder: Path) -> str:
    """The kind of the file system that is mounted nearest above ``folder``."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    above = [(mount[1], mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[0]))[1]


def _sync_times(folder: Path) -> list[float]:
    """Milliseconds of each append that is on the disk before the next."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            started = perf_counter()
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            times.append((perf_counter() - started) * 1000)
    return times
