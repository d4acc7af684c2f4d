"""Where the time of one window goes: what is left to win on this machine's CPU.

Each variant computes the same window; what it costs is taken twice: seconds on the wall with
all threads, and seconds of one core with one thread.  The latter hold on a busy machine, too.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from demucs import demucs, transformer
from torch.nn.attention import SDPBackend, sdpa_kernel

from services.separator.children import KEPT_MEMORY
from services.separator.networks import rewrite
from tests.benchmarks.separation.peak import SIDE
from tests.benchmarks.separation.weights import WINDOW_FLOP, full_htdemucs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Say = Callable[[str], None]

#: Frames of htdemucs's window.
_FRAMES: Final = 343_980
_TOP: Final = 20
#: By how much residual branches are scaled.
_SCALE: Final = 0.3
#: They must be there before the program begins.
_SETTINGS: Final = " ".join(f"{name}={value}" for name, value in KEPT_MEMORY.items())
_TURNS: Final = 3
#: What an operator's name says of its kind; the first that fits.
_KINDS: Final = {
    "conv": "convolutions",
    "mkldnn": "convolutions",
    "attention": "attention",
    "mm": "matrix products",
    "linear": "matrix products",
    "fft": "Fourier transforms",
    "group_norm": "normalizations",
    "layer_norm": "normalizations",
    "gelu": "activations",
    "glu": "activations",
    "copy_": "copies",
    "cat": "copies",
    "pad": "copies",
}


class Variant(NamedTuple):
    """A way to compute a window."""

    name: str
    within: tuple[Callable[[], AbstractContextManager[Any]], ...] = ()
    channels_last: bool = False
    batch: int = 1
    #: Whether the network is rewritten, as in an engine.
    rewritten: bool = True


@contextmanager
def _with_shortcut() -> Iterator[None]:
    """Torch's shortcut for transformer layers, which demucs has and the engine switches off."""
    torch.backends.mha.set_fastpath_enabled(value=True)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=False)


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _weights_needed() -> Iterator[None]:
    """Attention the long way: torch takes no fused kernel when the weights are asked for."""
    attention = torch.nn.MultiheadAttention
    usual = attention.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever it is given
        return usual(self, *args, **{**kwargs, "need_weights": True})

    attention.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        attention.forward = usual  # type: ignore[method-assign]


@contextmanager
def _reduced_products(*, convolutions: bool) -> Iterator[None]:
    """OneDNN computes float32 with bfloat16 products, accumulated in float32."""
    mkldnn: Any = torch.backends.mkldnn
    parts = (mkldnn.matmul, mkldnn.conv) if convolutions else (mkldnn.matmul,)
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "bf16"
    try:
        yield
    finally:
        for part, was in zip(parts, before, strict=True):
            part.fp32_precision = was


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


EXACT: Final = Variant("float32")
FAST: Final = Variant("bfloat16 autocast", (_autocast,))
VARIANTS: Final = (
    Variant("float32, as demucs runs it", (_with_shortcut,), rewritten=False),
    Variant("float32, not rewritten", rewritten=False),
    EXACT,
    Variant("float32, channels last", channels_last=True),
    Variant("float32, batch of 2", batch=2),
    Variant("float32, denormals flushed", (_denormals_flushed,)),
    Variant("float32, attention unfused", (lambda: sdpa_kernel(SDPBackend.MATH),)),
    Variant("float32, attention with weights", (_weights_needed,)),
    Variant("float32, without oneDNN", (lambda: torch.backends.mkldnn.flags(enabled=False),)),
    Variant(
        "float32, bfloat16 products in linear layers",
        (lambda: _reduced_products(convolutions=False),),
    ),
    Variant("float32, bfloat16 products", (lambda: _reduced_products(convolutions=True),)),
    Variant("bfloat16 autocast, not rewritten", (_autocast,), rewritten=False),
    FAST,
    Variant("bfloat16 autocast, channels last", (_autocast,), channels_last=True),
    Variant("bfloat16 autocast, batch of 2", (_autocast,), batch=2),
)


def profile(say: Say, build: Callable[[], Any] = full_htdemucs) -> None:
    """Time every variant, then list the operators of an exact and of a fast window."""
    torch.backends.mha.set_fastpath_enabled(value=False)  # as in the engine
    threads = torch.get_num_threads()
    networks = {rewritten: _network(build, rewritten=rewritten) for rewritten in (False, True)}
    frames = min(_FRAMES, int(networks[False].segment * networks[False].samplerate))
    window = torch.randn(1, 2, frames, generator=torch.Generator().manual_seed(0))
    reference = _run(VARIANTS[0], networks, window)
    product = torch.randn(SIDE, SIDE)
    torch.set_num_threads(1)
    torch.mm(product, product)
    began = thread_time()
    torch.mm(product, product)
    peak = 2 * SIDE**3 / (thread_time() - began)
    say(f"torch {torch.__version__}; one core's float32 matmul: {peak / 1e9:.0f} GFLOP/s")
    kept = KEPT_MEMORY.items() <= os.environ.items()
    say(f"{'with' if kept else 'without'} the memory settings of an engine ({_SETTINGS})")
    say("seconds for a window: of one core with one thread | share of its matmul peak")
    for variant in VARIANTS:
        torch.set_num_threads(1)
        began = thread_time()
        output = _run(variant, networks, window)
        core = (thread_time() - began) / variant.batch
        share = WINDOW_FLOP / core / peak
        say(f"  {variant.name:44} {core:7.2f} s | {share:4.0%} | {_error(output[:1], reference)}")
    torch.set_num_threads(threads)
    say(f"on the wall, {threads} threads, the middle of {_TURNS} after one that does not count")
    for variant in VARIANTS:
        times = []
        for _ in range(_TURNS + 1):
            began = perf_counter()
            _run(variant, networks, window)
            times.append((perf_counter() - began) / variant.batch)
        say(f"  {variant.name:44} {median(times[1:]):7.2f} s")
    torch.set_num_threads(1)
    for variant in (EXACT, FAST):
        _operators(variant, networks, window, say)
    torch.set_num_threads(threads)


def _network(build: Callable[[], Any], *, rewritten: bool) -> Any:  # noqa: ANN401 - demucs ships no types
    network = build().eval().requires_grad_(requires_grad=False)
    for part in network.modules():
        if isinstance(part, demucs.LayerScale | transformer.LayerScale):
            # Untrained ones add next to nothing, and so would their errors.
            part.scale.fill_(_SCALE)
    if rewritten:
        rewrite(network, torch.device("cpu"))
    return network


def _run(variant: Variant, networks: dict[bool, Any], window: torch.Tensor) -> torch.Tensor:
    model = networks[variant.rewritten]
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    model.to(memory_format=layout)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for one in variant.within:
            stack.enter_context(one())
        output: torch.Tensor = model(window.expand(variant.batch, -1, -1))
    return output.float()


def _error(output: torch.Tensor, reference: torch.Tensor) -> str:
    gap = output - reference
    if not gap.any():
        return "the same bits"
    ratio = float(reference.pow(2).sum() / gap.pow(2).sum())
    return f"off by {float(gap.abs().max()):.0e} at most, {10 * math.log10(ratio):.0f} dB below"


def _operators(variant: Variant, networks: dict[bool, Any], window: torch.Tensor, say: Say) -> None:
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    ) as found:
        _run(variant, networks, window)
    averages = found.key_averages()
    total = sum(one.self_cpu_time_total for one in averages)
    kinds: dict[str, float] = {}
    for one in averages:
        kind = next((kind for mark, kind in _KINDS.items() if mark in one.key), "other")
        kinds[kind] = kinds.get(kind, 0) + one.self_cpu_time_total
    say(f"\n{variant.name}: {total / 1e6:.2f} s in operators, one thread")
    say(
        "  "
        + ", ".join(
            f"{kind} {spent / total:.0%}"
            for kind, spent in sorted(kinds.items(), key=lambda item: -item[1])
        )
    )
    for one in sorted(averages, key=lambda one: -one.self_cpu_time_total)[:_TOP]:
        say(f"  {one.self_cpu_time_total / total:6.1%} {one.count:5} x {one.key}")
    shapes = found.key_averages(group_by_input_shape=True)
    say("  by shape:")
    for one in sorted(shapes, key=lambda one: -one.self_cpu_time_total)[: 2 * _TOP]:
        sizes = " ".join("x".join(map(str, size)) for size in one.input_shapes[:2] if size)
        say(f"  {one.self_cpu_time_total / total:6.1%} {one.count:5} x {one.key} {sizes}")
