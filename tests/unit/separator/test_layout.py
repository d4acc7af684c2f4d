"""Which engines a machine gets: of every configuration, on every machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.separator.config import SeparatorConfig
from services.separator.hardware import Machine
from services.separator.layout import CPU_LANES, GPU_LANES, Seat, seats

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
