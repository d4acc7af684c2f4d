"""What the separator service and its two children say to each other.

A child answers each request with any number of ``Progressed`` and, at the end, with the one
report that the request names.  An engine takes several requests at a time.
"""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from shared.contracts.audio import AudioFormat, Metadata, Plan, Precision, Result, Track
from shared.contracts.live import Activity, ModelOffer
from shared.contracts.problem import Problem
from shared.contracts.request import Options


class EngineSettings(Struct, frozen=True, kw_only=True):
    """What the engine child is told at its start, in ``ENGINE_VARIABLE``."""

    blobs_url: str
    #: Folder of local model packages; empty for none.
    models_dir: str = ""
    #: HuggingFace's hub cache and torch's hub folder, where published weights are kept.
    hub_cache: str = ""
    torch_hub: str = ""
    #: Whether weights may be fetched from the network.
    fetch_weights: bool = True
    #: cpu, cuda, mps, or empty for the best one there is; of several GPUs the one with this number.
    device: str = ""
    number: int = 0
    #: Chunks that are worked on at once.
    lanes: int = 1
    #: Torch's threads; 0 leaves torch's own choice.
    torch_threads: int = 0
    #: Most windows that the model is given at once; 0 measures what the device likes best.
    batch_windows: int = 0
    #: Most windows in a chunk.
    windows_per_chunk: int = 4
    #: Bytes of models kept in memory.
    models_memory_bytes: int = 2 << 30
    #: What is computed with where a client leaves it open; None: by the device.
    precision: Precision | None = None
    #: Where measured batch sizes are kept.
    sizes_path: str = "batch-sizes.json"


#: The environment variable with the engine's settings, as JSON.
ENGINE_VARIABLE = "STEMBUS_SEPARATOR_ENGINE"
#: The environment variable with the encode child's blob store.
BLOBS_VARIABLE = "STEMBUS_BLOBS_URL"


class DescribeModels(Struct, frozen=True, kw_only=True, tag_field="type", tag="describe"):
    """Which models are there?  Answer: ``ModelsDescribed``."""


class PrepareTrack(Struct, frozen=True, kw_only=True, tag_field="type", tag="prepare"):
    """Choose and load a model, and cut the track for it.  Answer: ``TrackPrepared``."""

    options: Options
    track: Track


class WarmUp(Struct, frozen=True, kw_only=True, tag_field="type", tag="warm"):
    """Load these models, as far as they can be had.  Answer: ``WarmedUp``."""

    models: tuple[str, ...]


class SeparateChunk(Struct, frozen=True, kw_only=True, tag_field="type", tag="separate"):
    """Store what one chunk contributes under ``key``.  Answer: ``ChunkStored``."""

    track: Track
    plan: Plan
    chunk: int
    key: str


EngineRequest = DescribeModels | PrepareTrack | WarmUp | SeparateChunk


class Progressed(Struct, frozen=True, kw_only=True, tag_field="type", tag="progressed"):
    """How far the request is."""

    activity: Activity
    fraction: float | None = None
    note: str = ""


class ModelsDescribed(Struct, frozen=True, kw_only=True, tag_field="type", tag="described"):
    """Every model that may be asked for, and the device that runs them."""

    models: tuple[ModelOffer, ...]
    device: str


class TrackPrepared(Struct, frozen=True, kw_only=True, tag_field="type", tag="prepared"):
    """How the track is cut."""

    plan: Plan
    device: str


class WarmedUp(Struct, frozen=True, kw_only=True, tag_field="type", tag="warmed"):
    """The models that are in memory now."""

    models: tuple[str, ...]


class ChunkStored(Struct, frozen=True, kw_only=True, tag_field="type", tag="stored"):
    """The chunk's contribution is in the blob store."""

    #: Seconds of the track that the chunk moves the job on by.
    seconds: float
    device: str
    #: Whether it was there already: who computed it died before it could say so.
    found: bool = False


EngineReport = Progressed | ModelsDescribed | TrackPrepared | WarmedUp | ChunkStored


class EncodeStems(Struct, frozen=True, kw_only=True, tag_field="type", tag="encode"):
    """Add the chunks up and store the encoded stems.

    Answer: ``StemsEncoded``, ``ChunksLost`` or ``TrackLost``.
    """

    track: Track
    plan: Plan
    #: Blob keys of the chunks, in order.
    chunk_keys: tuple[str, ...]
    format: AudioFormat
    metadata: Metadata


class StemsEncoded(Struct, frozen=True, kw_only=True, tag_field="type", tag="encoded"):
    """All stems and ``peaks.json`` are in the blob store."""

    result: Result


class ChunksLost(Struct, frozen=True, kw_only=True, tag_field="type", tag="lost"):
    """The other answer to ``EncodeStems``: nothing was stored, chunks must be made anew."""

    #: All whose blobs are missing or damaged.
    chunks: tuple[int, ...]
    #: Of the first that was found.
    problem: Problem


class TrackLost(Struct, frozen=True, kw_only=True, tag_field="type", tag="track_lost"):
    """The third: nothing was stored, the track is missing or damaged."""

    problem: Problem


EncodeReport = Progressed | StemsEncoded | ChunksLost | TrackLost
#: The last word on ``EncodeStems``; a union is no type for mypy, though isinstance takes it.
ENCODE_ANSWER = cast(
    "type[StemsEncoded | ChunksLost | TrackLost]", StemsEncoded | ChunksLost | TrackLost
)
