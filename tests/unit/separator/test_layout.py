"""Which engines a machine gets: of every configuration, on every machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.config import SeparatorConfig
from services.separator.layout import CPU_LANES, GPU_LANES, Machine, Seat, seats, this_machine

if TYPE_CHECKING:
    from pathlib import Path

LAPTOP = Machine(cores=8, gpus=0)
TWO_GPUS = Machine(cores=9, gpus=2)


def config(device: str = "", slots: int = 0, threads: int = 0) -> SeparatorConfig:
    """A configuration as the environment would say it."""
    names = tuple(device.split(",")) if device else ()
    return SeparatorConfig(device=names, separate_slots=slots, torch_threads=threads)


@pytest.mark.parametrize(
    ("said", "machine", "expected"),
    [
        # A CPU: an engine; more of them, of two lanes each, share its cores out.
        (config(), LAPTOP, [Seat("", 0, 1, 8)]),
        (config(slots=1), LAPTOP, [Seat("", 0, 1, 8)]),
        (config(slots=2), LAPTOP, [Seat("", 0, CPU_LANES, 8)]),
        (config(slots=3), LAPTOP, [Seat("", 0, 2, 4), Seat("", 1, 1, 4)]),
        (config(slots=4), LAPTOP, [Seat("", 0, 2, 4), Seat("", 1, 2, 4)]),
        (config(slots=32), LAPTOP, [Seat("", place, 2, 1) for place in range(16)]),
        (config(slots=4, threads=7), LAPTOP, [Seat("", 0, 2, 7), Seat("", 1, 2, 7)]),
        (config("cpu"), LAPTOP, [Seat("cpu", 0, 1, 8)]),
        # GPUs that nobody asked for are left alone.
        (config("cpu"), TWO_GPUS, [Seat("cpu", 0, 1, 9)]),
        (config("cpu,cpu", slots=3), TWO_GPUS, [Seat("cpu", 0, 2, 4), Seat("cpu", 1, 1, 4)]),
        # GPUs: each has one engine, with lanes.
        (config(), Machine(8, 1), [Seat("", 0, GPU_LANES, 8)]),
        (config(), TWO_GPUS, [Seat("", 0, GPU_LANES, 4), Seat("", 1, GPU_LANES, 4)]),
        (config(threads=1), TWO_GPUS, [Seat("", 0, GPU_LANES, 1), Seat("", 1, GPU_LANES, 1)]),
        (config(slots=5), TWO_GPUS, [Seat("", 0, 3, 4), Seat("", 1, 2, 4)]),
        (config(slots=1), TWO_GPUS, [Seat("", 0, 1, 4)]),
        (config(), Machine(1, 2), [Seat("", 0, GPU_LANES, 1), Seat("", 1, GPU_LANES, 1)]),
        # Devices that are named, whether the kernel shows them or not.
        (config("cuda:1"), TWO_GPUS, [Seat("cuda:1", 0, GPU_LANES, 9)]),
        (config("mps"), LAPTOP, [Seat("mps", 0, GPU_LANES, 8)]),
        (
            config("cuda:0,cuda:1", slots=2),
            LAPTOP,
            [Seat("cuda:0", 0, 1, 4), Seat("cuda:1", 1, 1, 4)],
        ),
        # A CPU beside a GPU is what the GPU's engine falls back to, and no engine of its own.
        (config("cuda:0,cpu"), TWO_GPUS, [Seat("cuda:0", 0, GPU_LANES, 9)]),
    ],
)
def test_a_machine_gets_the_engines_that_suit_it(
    said: SeparatorConfig, machine: Machine, expected: list[Seat]
) -> None:
    assert expected == list(seats(said, machine))


@given(
    device=st.sampled_from(["", "cpu", "mps", "cuda:0", "cuda:0,cuda:1", "cpu,cuda:0"]),
    slots=st.integers(0, 20),
    cores=st.integers(1, 64),
    gpus=st.integers(0, 8),
)
def test_there_is_always_an_engine_and_no_core_is_promised_twice(
    device: str, slots: int, cores: int, gpus: int
) -> None:
    made = seats(config(device, slots), Machine(cores, gpus))
    assert made
    assert all(seat.lanes >= 1 and seat.threads >= 1 for seat in made)
    assert sum(seat.threads for seat in made) <= max(cores, len(made))
    if slots:
        assert sum(seat.lanes for seat in made) == slots


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
    assert this_machine(environ, tmp_path).gpus == gpus


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
    found = this_machine({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path / "missing")
    assert found.gpus == 0
    assert 1 <= found.cores <= (os.cpu_count() or 1)
