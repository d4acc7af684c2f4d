"""Networks that cost next to nothing, count what they are asked, and fail when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import torch

from services.separator.models import LoadedModel, Member

if TYPE_CHECKING:
    from collections.abc import Sequence

CPU = torch.device("cpu")
#: An accelerator, as far as anybody here can tell: it is not the CPU, and it computes.
GPU = torch.device("cpu:0")
#: Window length of the cheap networks in frames; windows start 75 apart.
SEGMENT = 100
SOURCES = ("vocals", "rest")


class Cheap(torch.nn.Module):
    """Two sources from one multiplication; what comes out depends on where in the window it is."""

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        self.share = share

    def valid_length(self, frames: int) -> int:
        """A track's last window is given as much as the others: they can be batched."""
        return max(frames, SEGMENT)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        place = torch.arange(mix.shape[-1]) / mix.shape[-1]
        voice = mix * place * self.share
        return torch.stack((voice, mix - voice), dim=1)


class Crowded(torch.nn.Module):
    """A network on a device that somebody else is using."""

    def __init__(
        self, network: torch.nn.Module, fits: Callable[[int], bool] = lambda _: True
    ) -> None:
        """``fits``: whether that many windows fit; 0 asks for the network itself."""
        super().__init__()
        self.network = network
        self.fits = fits
        self.place = CPU
        #: Where it was asked to compute how many windows, with or without success.
        self.asked: list[tuple[str, int]] = []

    @property
    def batches(self) -> list[int]:
        """How many windows it was asked to compute at a time."""
        return [windows for _, windows in self.asked]

    def valid_length(self, frames: int) -> int:
        """As the network inside says."""
        wanted: Any = getattr(self.network, "valid_length", None)
        return frames if wanted is None else int(wanted(frames))

    def to(self, *args: Any, **_: Any) -> Self:  # noqa: ANN401 - torch's own signature
        """Move there, if there is room."""
        self.place = torch.device(args[0])
        if self.place == GPU and not self.fits(0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        self.asked.append((str(self.place), len(mix)))
        if self.place == GPU and not self.fits(len(mix)):
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ...")
        result: torch.Tensor = self.network(mix)
        return result


class Doing(torch.nn.Module):
    """Does something before each batch: raise, perhaps."""

    def __init__(self, act: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.act = act
        self.network = Cheap()

    def valid_length(self, frames: int) -> int:
        """As the cheap one."""
        return self.network.valid_length(frames)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        self.act(mix)
        result: torch.Tensor = self.network(mix)
        return result


def cheap_model(
    *networks: torch.nn.Module, name: str = "cheap", segment: int = SEGMENT
) -> LoadedModel:
    """A bag of cheap networks, with equal shares; its name tells it from others."""
    modules: Sequence[torch.nn.Module] = networks or (Cheap(),)
    share = 1 / len(modules)
    return LoadedModel(
        name=name,
        digest=f"digest of {name}",
        sources=SOURCES,
        members=tuple(Member(module, (share, share), segment) for module in modules),
    )


def crowded(model: LoadedModel, fits: Callable[[int], bool]) -> tuple[LoadedModel, list[Crowded]]:
    """The same model on a crowded device, and its networks."""
    modules = [Crowded(member.module, fits) for member in model.members]
    members = tuple(
        member._replace(module=module)
        for member, module in zip(model.members, modules, strict=True)
    )
    return model._replace(members=members), modules
