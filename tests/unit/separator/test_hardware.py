"""What there is to compute with, as the system shows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from services.separator.hardware import this_machine

if TYPE_CHECKING:
    from pathlib import Path

CUDA, ROCM, BARE, NONE = "2.13.0+cu128", "2.13.0+rocm6.4", "2.13.0", "2.13.0+cpu"
LINUX: Final = ("Linux", "x86_64")
MAC: Final = ("Darwin", "arm64")
NVIDIA: Final = ("nvidia0", "nvidia1", "nvidiactl", "dri/renderD128")
AMD: Final = ("kfd", "dri/card0", "dri/renderD128", "dri/renderD129")
WINDOWS: Final = ("dxg", "libcuda.so.1")


@pytest.mark.parametrize(
    ("shown", "build", "system", "gpus"),
    [
        (NVIDIA, CUDA, LINUX, 2),
        (NVIDIA, BARE, LINUX, 2),
        # What torch was not built for it does not see.
        (NVIDIA, NONE, LINUX, 0),
        (NVIDIA, ROCM, LINUX, 0),
        (AMD, ROCM, LINUX, 2),
        (AMD, CUDA, LINUX, 0),
        (AMD, NONE, LINUX, 0),
        (("kfd",), ROCM, LINUX, 0),
        (("dri/renderD128",), ROCM, LINUX, 0),
        (WINDOWS, CUDA, LINUX, 1),
        (WINDOWS, NONE, LINUX, 0),
        (("dxg",), CUDA, LINUX, 0),  # another maker's
        ((), CUDA, LINUX, 0),
        ((), BARE, MAC, 1),
        ((), BARE, ("Darwin", "x86_64"), 0),
    ],
)
def test_gpus_are_those_that_this_torch_can_use(
    shown: tuple[str, ...], build: str, system: tuple[str, str], gpus: int, tmp_path: Path
) -> None:
    for name in shown:
        device = tmp_path / name
        device.parent.mkdir(exist_ok=True)
        device.touch()
    driver = tmp_path / "libcuda.so.1"
    found = this_machine({}, tmp_path, build=build, system=system, windows_cuda=driver)
    assert found.gpus == gpus


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, 2),
        ("", 0),
        ("-1", 0),
        (" -1 ", 0),
        ("0", 1),
        ("1", 1),
        ("0,1", 2),
        ("0, 1", 2),
        ("0,1,2,3", 2),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", 1),
        # CUDA stops reading at the first that is none.
        ("0,-1,1", 1),
        ("-1,0", 0),
    ],
)
def test_gpus_are_counted_as_far_as_they_may_be_seen(
    visible: str | None, gpus: int, tmp_path: Path
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps", "sda1", "null"):
        (tmp_path / name).touch()
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert this_machine(environ, tmp_path, build=CUDA, system=LINUX).gpus == gpus


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", None),
        ("100000 100000\n", 1),
        ("199999 100000\n", 1),
        ("50000 100000\n", 1),
        ("100000000 100000\n", None),
        ("", None),
        ("junk", None),
        ("100000 0", None),
    ],
)
def test_a_containers_share_of_the_cores_is_all_that_is_used(
    text: str, cores: int | None, tmp_path: Path
) -> None:
    quota = tmp_path / "cpu.max"
    without = this_machine({}, tmp_path, quota).cores
    quota.write_text(text)
    assert this_machine({}, tmp_path, quota).cores == (cores or without)


def test_a_machine_without_a_folder_of_devices_has_no_gpu(tmp_path: Path) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0"}
    found = this_machine(environ, tmp_path / "missing", build=CUDA, system=LINUX)
    assert found.gpus == 0
    assert 1 <= found.cores <= (os.cpu_count() or 1)
