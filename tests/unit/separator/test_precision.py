"""Exact or fast: what either means on a device, and how far apart they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from services.separator import precision
from services.separator.devices import CPU
from services.separator.precision import arithmetic, half_type, laid_out, resolve
from shared.contracts.audio import Precision
from tests.support.audio import song
from tests.support.separating import plan_for, separate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.separator.models import ModelShelf

EXACT, FAST = Precision.EXACT, Precision.FAST
CUDA, MPS = torch.device("cuda", 0), torch.device("mps")


@pytest.fixture(autouse=True)
def _tf32_as_it_was() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def slow_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that multiplies bfloat16 in software."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})


@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("device", [CPU, CUDA, MPS])
@pytest.mark.parametrize("chosen", [None, EXACT, FAST])
@pytest.mark.parametrize("asked", [None, EXACT, FAST])
def test_the_client_decides_then_the_operator_then_the_device(
    asked: Precision | None,
    chosen: Precision | None,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    *,
    faster: bool,
) -> None:
    half = torch.bfloat16 if faster else None
    monkeypatch.setattr(precision, "half_type", lambda _: half)
    expected = asked or chosen or (EXACT if device == CPU else FAST)
    # A device that gains nothing by it computes exactly, whoever asked.
    assert resolve(asked, chosen, device) is (expected if faster else EXACT)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, None),
        ({"avx2": True, "avx512_f": True}, None),
        ({"amx_bf16": False, "avx512_bf16": False, "bf16": False}, None),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
    ],
)
def test_a_cpu_has_half_the_bits_where_it_multiplies_them_in_hardware(
    capabilities: dict[str, bool],
    expected: torch.dtype | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert half_type(CPU) is expected
    assert half_type(CUDA) is torch.float16
    assert half_type(MPS) is None


@pytest.mark.usefixtures("slow_cpu")
def test_a_cpu_without_it_computes_exactly_whoever_asked() -> None:
    assert resolve(FAST, FAST, CPU) is EXACT
    with arithmetic(FAST, CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("asked", list(Precision))
def test_only_what_is_fast_rounds_to_tf32(asked: Precision, *, before: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = before
    torch.backends.cudnn.allow_tf32 = before
    with arithmetic(asked, CPU):
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        assert torch.is_inference_mode_enabled()
    assert flags == (asked is FAST,) * 2


def test_exact_is_float32_and_ends_with_its_context() -> None:
    ones = torch.ones(4, 4)
    with arithmetic(EXACT, CPU):
        assert not torch.is_autocast_enabled("cpu")
        assert (ones @ ones).dtype is torch.float32
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_weights_lie_as_a_cpu_with_half_the_bits_reads_them(
    half: torch.dtype | None, shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "half_type", lambda _: half)
    (member,) = shelf.get("tiny", lambda _: None).members
    weights = [one for one in member.module.parameters() if one.dim() == 4]
    assert weights
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights) == (
        half is not None
    )


def test_weights_on_any_other_device_are_left_as_they_are() -> None:
    network = torch.nn.Conv2d(4, 8, 3)
    laid_out(network, CUDA)
    assert network.weight.is_contiguous()


#: Signal to noise in dB that half the bits must leave; 16 bits of a CD are 96, bfloat16 has 8.
ENOUGH = 30.0


def test_what_is_fast_on_a_cpu_is_close_to_what_is_exact(shelf: ModelShelf) -> None:
    if half_type(CPU) is None:
        assert resolve(FAST, None, CPU) is EXACT
        pytest.skip("this CPU multiplies bfloat16 in software")
    assert resolve(FAST, None, CPU) is FAST
    model = shelf.get("tiny", lambda _: None)
    audio = song(2.2).mix
    exact, fast = (
        separate(model, plan_for(model, len(audio), 4, precision=one), audio).sums
        for one in (EXACT, FAST)
    )
    assert fast.dtype == np.float32
    error = float(np.square(fast - exact).mean())
    # That they differ shows that it was computed with half the bits at all.
    assert error > 0
    ratio = 10 * np.log10(float(np.square(exact).mean()) / error)
    assert ratio > ENOUGH, f"{ratio:.1f} dB"
