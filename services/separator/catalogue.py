"""Which models may be named, and where the weights of each lie.  Reads folders, never weights.

The allow-list is what demucs publishes, what lies in the operator's models folder, and ``dsp``.
"""

from __future__ import annotations

import importlib.util
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec.yaml
from msgspec import Struct

from shared.contracts.live import ModelOffer
from shared.contracts.models import AUTO, DSP, DSP_SOURCES, PUBLISHED, QUANTIZED
from shared.contracts.subjects import TOKEN
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Bag(Struct, frozen=True, kw_only=True):
    """Several packages that make one model: demucs's own file format."""

    models: tuple[str, ...]
    #: For each package its weight in each source; None means all alike.
    weights: list[list[float]] | None = None
    #: Window length in seconds, where it is not the packages' own.
    segment: float | None = None


class Place(StrEnum):
    """Where a model comes from."""

    BUILT_IN = "built-in"
    #: A package or bag in the models folder.
    LOCAL = "local"
    #: A published bag whose packages lie in the models folder.
    LOCAL_FILES = "local files"
    HUB_CACHE = "hub cache"
    TORCH_CACHE = "torch cache"
    #: Published, and not on this disk.
    REMOTE = "remote"


class Found(NamedTuple):
    """A model and where it is."""

    name: str
    place: Place
    #: Changes when its files do.
    fingerprint: str = ""

    @property
    def ready(self) -> bool:
        """Whether it needs no network."""
        return self.place is not Place.REMOTE

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if self.place in {Place.LOCAL, Place.BUILT_IN}:
            return self.place.value
        return "published"


class Catalogue:
    """The models that may be named on this machine, looked up anew at each call."""

    def __init__(self, *, models_dir: Path | None, hub_cache: Path, torch_hub: Path) -> None:
        self.models_dir = models_dir
        self.hub_cache = hub_cache
        self.torch_hub = torch_hub
        self._remote_files = _remote_files()
        has_diffq = importlib.util.find_spec("diffq") is not None
        self._published = {
            name: sources
            for name, sources in PUBLISHED.items()
            if has_diffq or name not in QUANTIZED
        }

    def names(self) -> tuple[str, ...]:
        """Every name that may be asked for, ``auto`` aside."""
        local = (name for name in self._local() if name not in self._published)
        return (*self._published, *sorted(local), DSP)

    def find(self, name: str) -> Found:
        """Where a model is; ``model.unknown`` if it is not on the list."""
        local = self._local()
        if name == DSP:
            return Found(name, Place.BUILT_IN)
        if name in local:
            return Found(name, Place.LOCAL, _fingerprint(self._packages_of(local[name])))
        if name not in self._published:
            detail = f"{name[:64]!r}; there are {', '.join(self.names())}"
            raise TerminalError(Code.MODEL_UNKNOWN, detail)
        return self._find_published(name)

    def offers(self) -> dict[Found, ModelOffer]:
        """Every model; a local package's sources are not known before its file is opened.

        It changes when a folder does.
        """
        everything = (self.find(name) for name in self.names())
        return {
            found: ModelOffer(
                name=found.name,
                sources=self.known_sources(found) or (),
                ready=found.ready,
                origin=found.origin,
            )
            for found in everything
        }

    def known_sources(self, found: Found) -> tuple[str, ...] | None:
        """A model's sources where its name tells them; None where its file must be opened."""
        if found.place is Place.BUILT_IN:
            return DSP_SOURCES
        return None if found.place is Place.LOCAL else PUBLISHED[found.name]

    def torch_files(self, name: str) -> tuple[str, ...]:
        """Paths below demucs's download address of a published model's packages."""
        return tuple(self._remote_files[signature] for signature in published_bag(name))

    def _find_published(self, name: str) -> Found:
        files = [Path(file).name for file in self.torch_files(name)]
        for folder, place in (
            (self.models_dir, Place.LOCAL_FILES),
            (self.torch_hub / "checkpoints", Place.TORCH_CACHE),
        ):
            if folder is not None and all((folder / file).is_file() for file in files):
                return Found(name, place, _fingerprint(folder / file for file in files))
        cached = Place.HUB_CACHE if self.hub_snapshot(name) else Place.REMOTE
        return Found(name, cached)

    def hub_snapshot(self, name: str) -> Path | None:
        """The folder in HuggingFace's cache that has all of a published model's files."""
        repository = self.hub_cache / f"models--{hub_repository(name).replace('/', '--')}"
        for bag in sorted(repository.glob(f"snapshots/*/{name}.yaml")):
            try:
                files = [f"{signature}.safetensors" for signature in read_bag(bag).models]
            except (OSError, ValueError):
                continue  # half of a download that someone else is at
            if all((bag.parent / file).is_file() for file in files):
                return bag.parent
        return None

    def _local(self) -> dict[str, Path]:
        """Names in the models folder and the file of each; a bag's name wins over a package's."""
        if self.models_dir is None or not self.models_dir.is_dir():
            return {}
        found: dict[str, Path] = {}
        for file in sorted(self.models_dir.iterdir()):
            name = file.stem.rsplit("-", 1)[0] if file.suffix == ".th" else file.stem
            if file.suffix in {".th", ".yaml"} and TOKEN.match(name) and name not in {DSP, AUTO}:
                found[name] = file
        return found

    def _packages_of(self, file: Path) -> list[Path]:
        # A bag's packages may change under it: every package in the folder counts for it.
        if file.suffix == ".th":
            return [file]
        return [file, *sorted(file.parent.glob("*.th"))]


def hub_repository(name: str) -> str:
    """The HuggingFace repository of a published model: as demucs.hf.hf_repo_name, without torch."""
    if name == "htdemucs":
        return "adefossez/HTDemucs"
    if name.startswith("htdemucs_"):
        return f"adefossez/HTDemucs-{name.removeprefix('htdemucs_')}"
    return f"adefossez/Demucs-{name}"


def published_bag(name: str) -> tuple[str, ...]:
    """The signatures of a published model's packages, in demucs's own list."""
    data = (resources.files("demucs") / "remote" / f"{name}.yaml").read_bytes()
    return msgspec.yaml.decode(data, type=Bag).models


def read_bag(path: Path) -> Bag:
    """The bag that a file describes; ``msgspec.DecodeError`` (a ValueError) if it doesn't."""
    return msgspec.yaml.decode(path.read_bytes(), type=Bag)


def _remote_files() -> dict[str, str]:
    """Signature → path, from demucs's own list (the format of pretrained._parse_remote_files)."""
    files: dict[str, str] = {}
    root = ""
    for raw in (resources.files("demucs") / "remote" / "files.txt").read_text().splitlines():
        line = raw.strip()
        if line.startswith("root:"):
            root = line.removeprefix("root:").strip()
        elif line and not line.startswith("#"):
            files[line.split("-", 1)[0]] = root + line
    return files


def _fingerprint(files: Iterable[Path]) -> str:
    def stamp(file: Path) -> str:
        try:
            stat = file.stat()
        except FileNotFoundError:
            return f"{file.name}:gone"
        return f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}"

    return ";".join(stamp(file) for file in files)
