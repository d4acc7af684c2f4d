"""A device without room: smaller batches, then the CPU for that chunk, and the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
import torch
from services.separator.spans import SpanHeader, pack_span

from services.separator.devices import CPU, choose_device, out_of_memory, placed
from services.separator.engine import Engine
from services.separator.messages import ChunkStored, EngineSettings, SeparateChunk
from services.separator.models import LoadedModel, ModelShelf
from shared.errors import Code, RetryableError
from tests.support.audio import interleaved, noise, stored_track, track_of
from tests.unit.separator.test_equality import STRIDE, plan_for

if TYPE_CHECKING:
    from services.separator.catalogue import Catalogue
    from services.separator.messages import EngineReport
    from shared.blobs import BlockingBlobs

#: An accelerator, as far as anybody here can tell: it is not the CPU, and it computes.
GPU = torch.device("cpu:0")


class Crowded(torch.nn.Module):
    """A network on a device that somebody else is using."""

    def __init__(self, network: torch.nn.Module, fits: Callable[[int], bool]) -> None:
        """``fits``: whether that many windows fit; 0 asks for the network itself."""
        super().__init__()
        self.network = network
        self.fits = fits
        self.place = CPU
        #: Where it was asked to compute how many windows, with or without success.
        self.asked: list[tuple[str, int]] = []

    def valid_length(self, frames: int) -> int:
        return int(self.network.valid_length(frames))  # type: ignore[operator] # demucs ships no types

    def to(self, *args: Any, **_: Any) -> Self:  # noqa: ANN401 - torch's own signature
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


def crowded(model: LoadedModel, fits: Callable[[int], bool]) -> tuple[LoadedModel, list[Crowded]]:
    modules = [Crowded(member.module, fits) for member in model.members]
    members = tuple(
        member._replace(module=module)
        for member, module in zip(model.members, modules, strict=True)
    )
    return model._replace(members=members), modules


def sums_of(
    model: LoadedModel, device: torch.device, batch: int, windows: int = 4
) -> tuple[ChunkRun, np.ndarray[Any, Any], list[float]]:
    audio = noise(windows * STRIDE)
    data = interleaved(audio)
    run = ChunkRun(
        model=model,
        plan=plan_for(model, len(audio), windows),
        track=track_of(audio),
        device=device,
        batch=batch,
    )
    told: list[float] = []
    return run, run.weighted_sums(0, lambda a, b: data[a * 8 : b * 8], told.append), told


@pytest.mark.parametrize("name", ["tiny", "mixed"])
@pytest.mark.parametrize("fitting", [4, 1, 0, -1])
def test_whatever_fits_the_numbers_are_the_same(shelf: ModelShelf, name: str, fitting: int) -> None:
    model = shelf.get(name, lambda _: None)
    _, expected, _ = sums_of(model, CPU, batch=1)
    narrow, modules = crowded(model, lambda windows: windows <= fitting)
    run, sums, told = sums_of(narrow, GPU, batch=4)
    np.testing.assert_allclose(expected, sums, atol=2e-6)
    assert told == sorted(told)
    assert told[-1] == 1.0
    left = fitting < 1
    assert run.device == (CPU if left else GPU)
    assert {module.place for module in modules} == {CPU if left else GPU}


def test_batches_are_halved_before_the_device_is_left(shelf: ModelShelf) -> None:
    narrow, (module,) = crowded(shelf.get("tiny", lambda _: None), lambda windows: windows == 0)
    run, _, _ = sums_of(narrow, GPU, batch=4, windows=3)
    there = [windows for place, windows in module.asked if place == str(GPU)]
    assert there[-1] == 1
    assert there == sorted(there, reverse=True)
    assert {windows for place, windows in module.asked if place == "cpu"} == {1}
    assert run.batch_windows == 1


def test_room_that_runs_out_on_the_way_costs_nothing_that_was_done(shelf: ModelShelf) -> None:
    model = shelf.get("tiny", lambda _: None)
    _, expected, _ = sums_of(model, CPU, batch=1)
    done: list[int] = []

    def fits(windows: int) -> bool:
        done.append(windows)
        return len(done) < 4

    narrow, (module,) = crowded(model, fits)
    run, sums, _ = sums_of(narrow, GPU, batch=1)
    np.testing.assert_array_equal(expected, sums)
    assert run.device == CPU
    # Two windows there, a third that found no room, and here the third and the fourth.
    assert [place for place, _ in module.asked] == [str(GPU)] * 3 + ["cpu"] * 2


def test_the_next_chunk_tries_the_device_again(shelf: ModelShelf) -> None:
    room = [False]
    narrow, (module,) = crowded(shelf.get("tiny", lambda _: None), lambda _: room[0])
    assert sums_of(narrow, GPU, batch=1)[0].device == CPU
    room[0] = True
    assert sums_of(narrow, GPU, batch=1)[0].device == GPU
    assert module.place == GPU


def test_a_window_that_does_not_even_fit_on_the_cpu_is_an_error(shelf: ModelShelf) -> None:
    class Vast(Crowded):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")

    model = shelf.get("tiny", lambda _: None)
    vast = Vast(model.members[0].module, lambda _: True)
    broken = model._replace(members=(model.members[0]._replace(module=vast),))
    with pytest.raises(RetryableError) as caught:
        sums_of(broken, GPU, batch=2)
    assert caught.value.code is Code.WORKER_OUT_OF_MEMORY


def test_another_failure_is_not_taken_for_want_of_room(shelf: ModelShelf) -> None:
    class Broken(Crowded):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    model = shelf.get("tiny", lambda _: None)
    module = Broken(model.members[0].module, lambda _: True)
    broken = model._replace(members=(model.members[0]._replace(module=module),))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        sums_of(broken, GPU, batch=2)


class OneModel:
    """A shelf with one model on it."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def get(self, *_: object) -> LoadedModel:
        return self._model


@pytest.mark.parametrize(("fitting", "device"), [(True, str(GPU)), (False, "cpu")])
def test_the_engine_says_where_the_chunk_was_computed(
    shelf: ModelShelf, catalogue: Catalogue, blobs: BlockingBlobs, *, fitting: bool, device: str
) -> None:
    model, _ = crowded(shelf.get("tiny", lambda _: None), lambda _: fitting)
    only: Any = OneModel(model)
    engine = Engine(
        catalogue=catalogue,
        weights=only,
        shelf=only,
        blobs=blobs,
        device=GPU,
        settings=EngineSettings(blobs_url="", batch_windows=2),
    )
    audio = noise(2 * STRIDE)
    plan = plan_for(model, len(audio), 4)
    said: list[EngineReport] = []
    track = stored_track(blobs, audio)
    engine.handle(
        SeparateChunk(track=track, plan=plan, chunk=0, key="work/j/1/chunk-0"), said.append
    )
    (stored,) = (one for one in said if isinstance(one, ChunkStored))
    assert stored.device == device
    _, sums, _ = sums_of(model, GPU, batch=2, windows=2)
    header = SpanHeader(digest=plan.digest, sources=plan.computed, start=0, frames=sums.shape[1])
    assert blobs.size("work/j/1/chunk-0") == len(pack_span(header, sums))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_want_of_room_has_many_names(error: RuntimeError, *, expected: bool) -> None:
    assert expected == out_of_memory(error)


def test_a_module_that_finds_no_room_is_whole_on_the_cpu(shelf: ModelShelf) -> None:
    narrow, (module,) = crowded(shelf.get("tiny", lambda _: None), lambda _: False)
    assert not placed(narrow.members[0].module, GPU)
    assert module.place == CPU
    assert placed(module, CPU)


def test_a_device_that_was_asked_for_is_taken() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("cuda:1") == torch.device("cuda", 1)
