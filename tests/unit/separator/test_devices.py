"""A device without room: smaller batches, then the CPU for that chunk, and the same numbers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from services.separator.devices import (
    CPU,
    choose_device,
    device_name,
    free_cache,
    out_of_memory,
    placed,
    works,
)
from services.separator.engine import Engine
from services.separator.messages import ChunkStored, EngineSettings, SeparateChunk
from shared.blobs import track_audio_key
from shared.child_main import CalledOffError
from shared.contracts.audio import FRAME_BYTES
from shared.errors import Code, RetryableError, StembusError, TerminalError
from shared.separation.spans import header_of, pack_span
from tests.support.audio import noise, stored_track
from tests.support.networks import GPU, Cheap, Crowded, Doing, cheap_model, crowded
from tests.support.separating import (
    Eager,
    Said,
    Separated,
    finished,
    opened,
    plan_for,
    run_all,
    runner,
    separate,
)

if TYPE_CHECKING:
    from services.separator.batchsize import SizeBook
    from services.separator.catalogue import Catalogue
    from services.separator.messages import EngineReport
    from services.separator.models import LoadedModel, ModelShelf
    from services.separator.runner import Runner
    from shared.blobs import BlockingBlobs
    from tests.support.audio import Audio

STRIDE = 24806


def done(model: LoadedModel, device: torch.device, batch: int, windows: int = 4) -> Separated:
    """A track of one chunk."""
    audio = noise(windows * STRIDE)
    return separate(model, plan_for(model, len(audio), windows), audio, device=device, batch=batch)


@pytest.mark.parametrize("name", ["tiny", "mixed"])
@pytest.mark.parametrize("fitting", [4, 1, 0, -1])
def test_whatever_fits_the_numbers_are_the_same(shelf: ModelShelf, name: str, fitting: int) -> None:
    model = shelf.get(name, lambda _: None)
    expected = done(model, CPU, batch=1).sums
    narrow, modules = crowded(model, lambda windows: windows <= fitting)
    made = done(narrow, GPU, batch=4)
    np.testing.assert_allclose(expected, made.sums, atol=2e-6)
    left = fitting < 1
    assert made.ticket.device == (CPU if left else GPU)
    assert {module.place for module in modules} == {CPU if left else GPU}


def test_batches_are_halved_before_the_device_is_left(shelf: ModelShelf) -> None:
    narrow, (module,) = crowded(shelf.get("tiny", lambda _: None), lambda windows: windows == 0)
    made = done(narrow, GPU, batch=4, windows=4)
    assert module.asked == [(str(GPU), n) for n in (4, 2, 1)] + [("cpu", 1)] * 4
    assert made.ticket.device == CPU


def test_room_that_runs_out_on_the_way_costs_nothing_that_was_done(shelf: ModelShelf) -> None:
    model = shelf.get("tiny", lambda _: None)
    expected = done(model, CPU, batch=1).sums
    used: list[int] = []

    def fits(windows: int) -> bool:
        used.extend([windows] if windows else [])
        return len(used) < 3

    narrow, (module,) = crowded(model, fits)
    made = done(narrow, GPU, batch=1)
    np.testing.assert_array_equal(expected, made.sums)
    assert made.ticket.device == CPU
    # Two windows there, a third that found no room, and here the third and the fourth.
    assert [place for place, _ in module.asked] == [str(GPU)] * 3 + ["cpu"] * 2


def test_the_next_chunk_tries_the_device_again() -> None:
    room = [False]
    model, (module,) = crowded(cheap_model(), lambda _: room[0])
    audio = noise(300)
    plan = plan_for(model, len(audio), 4)
    shared = runner(GPU, batch=2)
    for there, device in ((False, CPU), (True, GPU)):
        room[0] = there
        pair = opened(model, plan, audio, 0, GPU)
        shared.submit(pair[1])
        run_all(shared)
        assert finished(*pair).ticket.device == device
        assert module.place == device


def test_a_chunk_that_left_the_device_takes_no_other_along() -> None:
    """What has to leave is one window of one network; the other's chunk stays where it was."""
    vast, (vast_module,) = crowded(cheap_model(name="vast"), lambda windows: windows < 1)
    small, (small_module,) = crowded(cheap_model(name="small"), lambda _: True)
    audio = noise(300)
    pairs = [
        opened(model, plan_for(model, len(audio), 4), audio, 0, GPU) for model in (vast, small)
    ]
    shared = runner(GPU, batch=2)
    for _, ticket in pairs:
        shared.submit(ticket)
    run_all(shared)
    assert [finished(*pair).ticket.device for pair in pairs] == [CPU, GPU]
    assert [vast_module.place, small_module.place] == [CPU, GPU]
    assert small_module.asked == [(str(GPU), 2)] * 2


@pytest.mark.parametrize(
    "error",
    [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), MemoryError()],
)
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_window_that_does_not_even_fit_on_the_cpu_is_an_error(
    error: Exception, device: torch.device
) -> None:
    asked: list[int] = []

    def refuse(mix: torch.Tensor) -> None:
        asked.append(len(mix))
        raise error

    model = cheap_model(Doing(refuse))
    audio = noise(300)
    with pytest.raises(RetryableError) as caught:
        separate(model, plan_for(model, 300, 4), audio, device=device, batch=4)
    assert caught.value.code is Code.WORKER_OUT_OF_MEMORY
    # On the device down to one window, and that one more time on the CPU.
    assert asked == ([4, 2, 1] if device == CPU else [4, 2, 1, 1])


OWN = TerminalError(Code.INTERNAL, "it said so itself")
FAILURES = [
    (
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RetryableError(Code.WORKER_CRASHED, "failing: RuntimeError: CUDA error: an illegal"),
    ),
    (ValueError("shapes"), RetryableError(Code.WORKER_CRASHED, "failing: ValueError: shapes")),
    (OWN, OWN),
    (MemoryError(), RetryableError(Code.WORKER_OUT_OF_MEMORY, "one window of failing")),
]


@pytest.mark.parametrize(("error", "expected"), FAILURES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_failing_model_ends_its_own_chunk_and_no_other(
    error: Exception, expected: StembusError, device: torch.device
) -> None:
    def fail(_: torch.Tensor) -> None:
        raise error

    failing = Crowded(Doing(fail))
    models = [cheap_model(name="a"), cheap_model(failing, name="failing"), cheap_model(name="b")]
    audio = noise(400)
    plans = [plan_for(model, len(audio), 9) for model in models]
    alone = [separate(models[n], plans[n], audio).sums for n in (0, 2)]
    shared = runner(device, batch=2)
    pairs = [
        opened(model, plan, audio, 0, device) for model, plan in zip(models, plans, strict=True)
    ]
    for _, ticket in pairs:
        shared.submit(ticket)
    run_all(shared)
    made = [finished(*pairs[n]).sums for n in (0, 2)]
    np.testing.assert_allclose(alone, made, atol=1e-6)
    with pytest.raises(type(expected)) as caught:
        finished(*pairs[1])
    assert caught.value.code is expected.code
    assert caught.value.detail.startswith(expected.detail)


def test_another_failure_is_not_taken_for_want_of_room() -> None:
    def fail(_: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    model, (module,) = crowded(cheap_model(Doing(fail)), lambda _: True)
    audio = noise(300)
    with pytest.raises(RetryableError, match="device-side assert") as caught:
        separate(model, plan_for(model, 300, 4), audio, device=GPU, batch=4)
    assert caught.value.code is Code.WORKER_CRASHED
    assert module.asked == [(str(GPU), 4)]


class OneModel:
    """A shelf with one model on it."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def get(self, *_: object) -> LoadedModel:
        return self._model


def engine_with(
    model: LoadedModel, catalogue: Catalogue, blobs: BlockingBlobs, computes: Runner | None = None
) -> Engine:
    only: Any = OneModel(model)
    no_book: Any = None
    book: SizeBook = no_book
    return Engine(
        catalogue=catalogue,
        weights=only,
        shelf=only,
        blobs=blobs,
        runner=computes or Eager(device=GPU, batch_windows=2, book=book, clock=lambda: 0.0),
        device=GPU,
        settings=EngineSettings(blobs_url=""),
    )


@pytest.mark.parametrize(("fitting", "device"), [(True, str(GPU)), (False, "cpu")])
def test_the_engine_says_where_the_chunk_was_computed(
    catalogue: Catalogue, blobs: BlockingBlobs, *, fitting: bool, device: str
) -> None:
    model, _ = crowded(cheap_model(), lambda _: fitting)
    audio = noise(500)
    plan = plan_for(model, len(audio), 4)
    track = stored_track(blobs, audio)
    said = Said()
    engine_with(model, catalogue, blobs).handle(
        SeparateChunk(track=track, plan=plan, chunk=0, key="work/j/1/chunk-0"), said
    )
    assert said.last(ChunkStored).device == device
    made = separate(model, plan, audio, batch=2)
    expected = pack_span(header_of(plan, 0), made.sums, made.windows.heard)
    stored = blobs.get_range("work/j/1/chunk-0", 0, blobs.size("work/j/1/chunk-0"))
    assert expected == stored
    assert blobs.size(track_audio_key(track.id)) == len(audio) * FRAME_BYTES


def separate_order(blobs: BlockingBlobs, audio: Audio, model: LoadedModel) -> SeparateChunk:
    plan = plan_for(model, len(audio), 4)
    track = stored_track(blobs, audio)
    return SeparateChunk(track=track, plan=plan, chunk=0, key="work/j/1/chunk-0")


@pytest.mark.parametrize("damage", [None, b"no chunk"])
def test_a_chunk_that_is_there_is_not_computed_again_unless_it_is_damaged(
    damage: bytes | None, catalogue: Catalogue, blobs: BlockingBlobs
) -> None:
    """Whoever computed it may have died before it could say so."""
    model, (module,) = crowded(cheap_model(), lambda _: True)
    engine = engine_with(model, catalogue, blobs)
    order = separate_order(blobs, noise(500), model)
    first, second = Said(), Said()
    engine.handle(order, first)
    made = blobs.get_range(order.key, 0, blobs.size(order.key))
    computed = len(module.asked)
    if damage is not None:
        blobs.put(order.key, damage)
    engine.handle(order, second)
    found = damage is None
    assert (first.last(ChunkStored).found, second.last(ChunkStored).found) == (False, found)
    assert len(module.asked) == computed * (1 if found else 2)
    assert made == blobs.get_range(order.key, 0, blobs.size(order.key))


@pytest.mark.parametrize("frames", [0, 300, 499, 501])
def test_a_track_of_the_wrong_length_is_said_to_be_damaged(
    frames: int, catalogue: Catalogue, blobs: BlockingBlobs
) -> None:
    model, (module,) = crowded(cheap_model(), lambda _: True)
    order = separate_order(blobs, noise(500), model)
    blobs.put(track_audio_key(order.track.id), bytes(frames * FRAME_BYTES))
    with pytest.raises(TerminalError) as caught:
        engine_with(model, catalogue, blobs).handle(order, Said())
    assert caught.value.code is Code.BLOB_CORRUPT
    assert module.asked == []


@pytest.mark.parametrize("reports", range(1, 5))
def test_of_a_chunk_that_nobody_wants_nothing_more_is_computed_and_nothing_stored(
    reports: int, catalogue: Catalogue, blobs: BlockingBlobs
) -> None:
    """Whenever that becomes known: between two windows, or while one is computed."""

    class Leaving(Said):
        def __call__(self, report: EngineReport) -> None:
            super().__call__(report)
            if len(self.reports) == reports:
                self.called_off.set()
                raise CalledOffError

    model, (module,) = crowded(cheap_model(), lambda _: True)
    shared = runner(batch=1)
    engine = engine_with(model, catalogue, blobs, shared)
    order = separate_order(blobs, noise(500), model)
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            shared.step()

    computing = threading.Thread(target=compute)
    computing.start()
    try:
        with pytest.raises(CalledOffError):
            engine.handle(order, Leaving())
        asked = len(module.asked)
        assert not shared.step()
        assert len(module.asked) == asked
    finally:
        stop.set()
        computing.join()
    with pytest.raises(TerminalError):
        blobs.size(order.key)


@pytest.mark.parametrize(("device", "expected"), [("cpu", True), ("meta", False)])
def test_a_device_works_if_it_adds_up(device: str, *, expected: bool) -> None:
    assert works(torch.device(device)) is expected


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


def test_a_module_that_finds_no_room_is_whole_on_the_cpu() -> None:
    module = Crowded(Cheap(), lambda _: False)
    assert not placed(module, GPU)
    assert module.place == CPU
    assert placed(module, CPU)


def test_a_module_that_can_not_move_for_another_reason_says_so() -> None:
    class Stuck(Crowded):
        def to(self, *_: object, **__: object) -> Stuck:
            raise RuntimeError("CUDA error: no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        placed(Stuck(Cheap()), GPU)


def test_a_device_that_was_asked_for_is_taken() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert device_name(CPU) == "cpu"


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (1, 1), (2, 0), (5, 1)])
def test_engines_take_turns_at_the_gpus(
    number: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("", number) == torch.device("cuda", expected)


@pytest.mark.parametrize(("mps", "expected"), [(True, "mps"), (False, "cpu")])
def test_without_a_gpu_it_is_what_there_is(
    monkeypatch: pytest.MonkeyPatch, *, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("") == torch.device(expected)


def test_what_torch_keeps_for_later_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    for name, backend in (("cuda", torch.cuda), ("mps", torch.mps)):
        monkeypatch.setattr(backend, "empty_cache", lambda name=name: freed.append(name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    free_cache()
    assert freed == ["cuda", "mps"]
