"""Networks, rewritten when they are loaded: the same function at less cost.

Most of what a window costs beside its products is memory that is gone through: each step here
saves a whole pass over some layer's output.  What is computed differs by rounding only
(tests.unit.separator.test_networks), what it gains is in tests.benchmarks.separation --profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

import torch
from demucs import demucs, transformer
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTENTIVE: Final = (
    transformer.MyTransformerEncoderLayer,
    transformer.CrossTransformerEncoderLayer,
)


class Pointwise(nn.Module):
    """A convolution over one frame at a time, as the product of matrices that it is."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias

    @staticmethod
    def can_be(module: nn.Module) -> TypeGuard[nn.Conv1d]:
        """Whether ``module`` is nothing but that."""
        return (
            type(module) is nn.Conv1d
            and (module.kernel_size, module.stride, module.padding) == ((1,), (1,), (0,))
            and module.groups == 1
            and module.bias is not None
        )

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames) to (batch, other channels, frames)."""
        bias: Any = self.bias
        weights = self.weight[:, :, 0].expand(len(given), -1, -1)
        return torch.baddbmm(bias[:, None], weights, given)


@torch.no_grad()
def rewrite(network: nn.Module, device: torch.device) -> None:
    """Rewrite ``network``, which is to run on ``device``, in place; doing it again does nothing.

    Its weights are others afterwards: what is made of a model's (its digest) is made before.
    """
    for part in list(network.modules()):
        if isinstance(part, demucs.DConv):
            _fold_residual(part)
        elif isinstance(part, _ATTENTIVE):
            _fold_attention(part)
    if device.type == "cpu":
        # oneDNN's convolutions pay for the layouts that they prefer, products do not.
        for parent, name, child in list(_children(network)):
            if Pointwise.can_be(child):
                setattr(parent, name, Pointwise(child))


def _fold_residual(part: Any) -> None:  # noqa: ANN401 - demucs ships no types
    """Scale the branches of a DConv in the normalization before: a * sigmoid(b) is linear in a."""
    for layer in part.layers:
        *_, norm, gate, scaling = layer
        if not (isinstance(norm, nn.GroupNorm) and norm.affine and isinstance(gate, nn.GLU)):
            continue
        if isinstance(scaling, demucs.LayerScale):
            first = len(scaling.scale)
            norm.weight[:first] *= scaling.scale
            norm.bias[:first] *= scaling.scale
            layer[len(layer) - 1] = nn.Identity()


def _fold_attention(part: Any) -> None:  # noqa: ANN401 - likewise
    """Scale the branches of a transformer's layer in the last product of each."""
    crosses = isinstance(part, transformer.CrossTransformerEncoderLayer)
    attention = part.cross_attn if crosses else part.self_attn
    for name, last in (("gamma_1", attention.out_proj), ("gamma_2", part.linear2)):
        scaling = getattr(part, name)
        if isinstance(scaling, transformer.LayerScale):
            last.weight *= scaling.scale[:, None]
            last.bias *= scaling.scale
            setattr(part, name, nn.Identity())


def _children(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Each module's parent, its name there, and the module."""
    for parent in network.modules():
        for name, child in parent.named_children():
            yield parent, name, child
