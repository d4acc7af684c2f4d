"""The separator's configuration, and what its children may know of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.contracts.audio import Precision
from shared.settings import ServiceConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the children need beyond ``shared.child.INHERITED``: the blob store's credentials, the
#: way to the weights, and the choice of devices.
PASSED_ON: Final = (
    "AWS_", "HF_", "HUGGINGFACE_", "TORCH_", "XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "CUDA_", "NVIDIA_", "OMP_", "MKL_",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip


class SeparatorConfig(ServiceConfig, frozen=True, kw_only=True):
    """What a separator needs to know.  Field ``x_y`` is read from ``STEMBUS_X_Y``."""

    #: Folder of local model packages (demucs's layout: ``<name>.th``, ``<name>-<checksum>.th``,
    #: ``<name>.yaml`` for bags).  Whoever can write there can run code: they are unpickled.
    models_dir: str = ""
    #: Whether published weights may be fetched from the network.
    fetch_weights: bool = True
    #: Torch device: cpu, cuda, cuda:1, mps, or several (``cuda:0,cuda:1``), each with an engine
    #: process of its own; empty takes every GPU there is, else the best device.
    device: tuple[str, ...] = ()
    #: Threads for torch on a CPU; 0 shares the cores out among the engines of this separator.
    #: Where several run on one machine each needs its part of them, or they wait for each other:
    #: ``stembus up --separators`` sees to it, containers need this or a limit of their own.
    torch_threads: int = 0
    #: Most windows that a model is given at once; 0 measures it on each GPU, and is 1 on a CPU,
    #: which gains nothing from more.
    batch_windows: int = 0
    #: Most windows in a chunk, the unit of retry and of what can be heard early: 4 of htdemucs
    #: are 23 seconds of audio.
    windows_per_chunk: int = 4
    #: Bytes of models that one engine keeps in memory; the one at work is always kept.  htdemucs
    #: takes 170 MB, htdemucs_ft four times that.
    models_memory_bytes: int = 2 << 30
    #: What is computed with where a client leaves it open: exact, fast; empty: exact on a CPU,
    #: fast on a GPU.
    precision: Precision | None = None
    #: Chunks that are separated at once; 0: one on a CPU, four on each GPU, so that it always has
    #: enough windows for a batch.  On a CPU each two share an engine process: with two it
    #: computes while one is loaded or stored, which pays where the store is slow.
    separate_slots: int = 0
    #: Tracks that are finalized at once.
    finalize_slots: int = 1
    #: Bytes of private memory of an engine; 0 sets no limit (right for a GPU).
    engine_memory_bytes: int = 0
    #: Bytes of private memory of an encoding child; 0 sets no limit.
    encode_memory_bytes: int = 3 << 30
    #: Bytes of the largest file that an encoding child may write.
    encode_file_bytes: int = 16 << 30
    #: Seconds without a word after which an engine is given up.
    engine_silence_seconds: float = 600.0
    #: Seconds without a word after which an encoding child is given up.
    encode_silence_seconds: float = 120.0
    #: Seconds between two looks into the models folder.
    models_scan_seconds: float = 15.0


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``environ`` that the children need and would not inherit otherwise."""
    return {name: value for name, value in environ.items() if name.startswith(PASSED_ON)}


def hub_cache(environ: Mapping[str, str]) -> Path:
    """HuggingFace's hub cache, by the rules of huggingface_hub.constants."""
    if cache := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = environ.get("HF_HOME")
    return (Path(home).expanduser() if home else _cache(environ) / "huggingface") / "hub"


def torch_hub(environ: Mapping[str, str]) -> Path:
    """Torch's hub folder, by the rules of ``torch.hub.get_dir``."""
    home = environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else _cache(environ) / "torch") / "hub"


def _cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
