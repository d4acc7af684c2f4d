"""What a network is rewritten to computes the same, whatever it is made of."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import pytest
import torch
from demucs import demucs, transformer
from demucs.htdemucs import HTDemucs
from torch import nn

from services.separator.devices import CPU
from services.separator.networks import Pointwise, rewrite
from tests.support.models import FOUR, plain_demucs, small_demucs, small_hdemucs, small_htdemucs

if TYPE_CHECKING:
    from collections.abc import Callable

CUDA: Final = torch.device("cuda")
SCALES: Final = (demucs.LayerScale, transformer.LayerScale)
#: Of what a network makes of noise whose samples are about 1.
CLOSE: Final = 1e-5


def deep_htdemucs() -> Any:  # noqa: ANN401 - demucs ships no types
    """With layers that attend to the other branch, too, and two residual layers in each step."""
    return HTDemucs(
        list(FOUR), channels=8, nfft=1024, depth=4, t_layers=3, t_heads=2, segment=Fraction(3, 4)
    )


def late_norms() -> Any:  # noqa: ANN401 - likewise
    """Whose transformer normalizes what it has added up."""
    return HTDemucs(
        list(FOUR),
        channels=8,
        nfft=1024,
        depth=4,
        t_layers=2,
        t_heads=2,
        t_norm_first=False,
        segment=Fraction(3, 4),
    )


NETWORKS: Final = {
    "htdemucs": small_htdemucs,
    "deep htdemucs": deep_htdemucs,
    "late norms": late_norms,
    "hdemucs": small_hdemucs,
    "demucs": small_demucs,
    "plain demucs": plain_demucs,
}


def lively(build: Callable[[], Any]) -> Any:  # noqa: ANN401 - likewise
    """A network in which every weight matters: as built, branches hardly do and biases don't."""
    torch.manual_seed(7)
    network = build().eval().requires_grad_(requires_grad=False)
    for part in network.modules():
        if isinstance(part, SCALES):
            part.scale.uniform_(-0.5, 1.0)
        elif isinstance(part, nn.GroupNorm | nn.LayerNorm):
            part.weight.uniform_(0.5, 1.5)
            part.bias.uniform_(-0.2, 0.2)
        elif isinstance(part, nn.Linear) and part.bias is not None:
            part.bias.uniform_(-0.2, 0.2)
    return network


def output_of(network: Any) -> torch.Tensor:  # noqa: ANN401 - likewise
    frames = 33_075
    if hasattr(network, "valid_length"):
        frames = network.valid_length(frames)
    window = torch.randn(2, 2, frames, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made: torch.Tensor = network(window)
        return made


def kinds_in(network: nn.Module) -> set[type]:
    return {type(part) for part in network.modules()}


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_the_same(name: str, device: torch.device) -> None:
    network = lively(NETWORKS[name])
    expected = output_of(network)
    rewrite(network, device)
    made = output_of(network)
    torch.testing.assert_close(made, expected, rtol=0, atol=CLOSE * float(expected.abs().max()))
    rewrite(network, device)
    assert torch.equal(output_of(network), made)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_that_can_be_spared_is_left(name: str) -> None:
    network = lively(NETWORKS[name])
    elsewhere = copy.deepcopy(network)
    rewrite(network, CPU)
    assert not kinds_in(network) & set(SCALES)
    assert not any(Pointwise.can_be(part) for part in network.modules())
    assert Pointwise in kinds_in(network)
    # What a GPU is faster with has not been measured.
    rewrite(elsewhere, CUDA)
    assert not kinds_in(elsewhere) & {Pointwise, *SCALES}


@pytest.mark.parametrize(
    ("convolution", "can_be"),
    [
        (nn.Conv1d(4, 8, 1), True),
        (nn.Conv1d(4, 8, 1, dilation=2), True),
        (nn.Conv1d(4, 8, 3), False),
        (nn.Conv1d(4, 8, 1, stride=2), False),
        (nn.Conv1d(4, 8, 1, padding=1), False),
        (nn.Conv1d(4, 8, 1, padding="same"), False),
        (nn.Conv1d(4, 8, 1, groups=2), False),
        (nn.Conv1d(4, 8, 1, bias=False), False),
        (nn.Conv2d(4, 8, 1), False),
        (nn.ConvTranspose1d(4, 8, 1), False),
    ],
    ids=repr,
)
def test_only_what_looks_at_one_frame_at_a_time_is_a_product(
    convolution: nn.Module, *, can_be: bool
) -> None:
    assert Pointwise.can_be(convolution) == can_be
    if can_be:
        network = nn.Sequential(convolution)
        given = torch.randn(3, 4, 17)
        expected = network(given)
        rewrite(network, CPU)
        assert kinds_in(network) == {nn.Sequential, Pointwise}
        torch.testing.assert_close(network(given), expected)


def test_a_residual_branch_without_a_normalization_keeps_its_scale() -> None:
    network = demucs.DConv(8, norm=False).eval()
    rewrite(network, CPU)
    assert demucs.LayerScale in kinds_in(network)
